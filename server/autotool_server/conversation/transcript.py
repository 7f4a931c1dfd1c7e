"""What the client sees of a turn's events, the message they make, and the calls in them that are the server's to run."""

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_server.tools.calls import ServerCall, TurnCalls

BETWEEN_TURNS = "\n\n"
"""What stands between the texts of two turns in one answer."""


def call_id() -> str:
    """A new id of a call."""
    return f"call_{uuid.uuid4().hex[:24]}"


class TurnReader:
    """Reads one turn. Calls of server tools are opened in `calls` and kept from the client."""

    def __init__(self, calls: TurnCalls, is_clients: Callable[[str], bool], shown: "Shown") -> None:
        self.client_calls = 0
        self._calls = calls
        self._is_clients = is_clients
        self._shown = shown
        self._reasoning: list[str] = []
        self._content: list[str] = []
        self._all: list[dict[str, Any]] = []
        self._servers: dict[int, ServerCall] = {}
        self._clients: dict[int, int] = {}

    def read(self, event: Event) -> Event | None:
        """What the client sees of an event; None for a call that is not its own."""
        match event:
            case ReasoningDelta(text):
                self._reasoning.append(text)
                return ReasoningDelta(self._shown.joined("reasoning", text, first=len(self._reasoning) == 1))
            case ContentDelta(text):
                self._content.append(text)
                return ContentDelta(self._shown.joined("content", text, first=len(self._content) == 1))
            case ToolCallStart():
                return self._open(event)
            case ToolCallArguments(index, text):
                self._all[index]["function"]["arguments"] += text
            case ToolCallEnd(index):
                if index in self._servers:
                    self._servers[index].arguments = self._all[index]["function"]["arguments"]
                    self._servers[index].complete = True
        return replace(event, index=self._clients[event.index]) if event.index in self._clients else None

    def message(self) -> dict[str, Any]:
        """The turn as a message of the transcript."""
        for call in self._all:
            # A history of calls that cannot be read could not be sent again.
            call["function"]["arguments"] = _object_or_none(call["function"]["arguments"])
        told: dict[str, Any] = {"role": "assistant", "content": "".join(self._content) or (None if self._all else "")}
        if self._reasoning:
            told["reasoning"] = "".join(self._reasoning)
        return told | ({"tool_calls": self._all} if self._all else {})

    def _open(self, event: ToolCallStart) -> Event | None:
        new = call_id()
        self._all.append({"id": new, "type": "function", "function": {"name": event.name, "arguments": ""}})
        if not self._is_clients(event.name):
            self._servers[event.index] = self._calls.open(new, event.name)
            return None
        self._clients[event.index] = self.client_calls
        self.client_calls += 1
        return replace(event, index=self._clients[event.index], id=new)


class Shown:
    """Which kinds of text the client has seen already: those of a later turn begin after a blank line."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()

    def joined(self, kind: str, text: str, *, first: bool) -> str:
        """The text as the client sees it; `first`: of its kind in its turn."""
        separate = first and kind in self._kinds
        self._kinds.add(kind)
        return BETWEEN_TURNS + text if separate else text


def _object_or_none(text: str) -> str:
    """The text of a JSON object that can be sent; of none where it is no such thing."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "{}"
    return text if isinstance(value, dict) else "{}"
