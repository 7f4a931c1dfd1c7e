"""The transcript of a turn: its message in the history, the events that the client sees, the calls that the server runs."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_server.conversation.choice import new_call_id
from autotool_server.tools.calls import TurnCalls
from autotool_server.tools.server_call import ServerCall

TURN_SEPARATOR = "\n\n"
"""Stands between the texts of two turns in one answer."""


class TurnTranscript:
    """Records one turn. Calls of server tools are opened in `calls` and hidden from the client."""

    def __init__(self, calls: TurnCalls, is_client_tool: Callable[[str], bool], joiner: "TextJoiner") -> None:
        self.client_calls = 0
        self._server_calls = calls
        self._is_client_tool = is_client_tool
        self._joiner = joiner
        self._reasoning: list[str] = []
        self._content: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._server_call_at: dict[int, ServerCall] = {}
        self._client_index: dict[int, int] = {}

    def read(self, event: Event) -> Event | None:
        """Record an event; return it as the client sees it, None for a call of a server tool."""
        match event:
            case ReasoningDelta(text):
                self._reasoning.append(text)
                return ReasoningDelta(self._joiner.join("reasoning", text, starts_turn=len(self._reasoning) == 1))
            case ContentDelta(text):
                self._content.append(text)
                return ContentDelta(self._joiner.join("content", text, starts_turn=len(self._content) == 1))
            case ToolCallStart():
                return self._open(event)
            case ToolCallArguments(index, text):
                self._calls[index]["function"]["arguments"] += text
            case ToolCallEnd(index):
                self._complete(index)
        index = self._client_index.get(event.index)
        return replace(event, index=index) if index is not None else None

    def message(self) -> dict[str, Any]:
        """Return the turn as a message of the transcript."""
        for call in self._calls:
            # A history with calls that cannot be read could not be sent again.
            call["function"]["arguments"] = _object_or_empty(call["function"]["arguments"])
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._content) or (None if self._calls else "")}
        if self._reasoning:
            message["reasoning"] = "".join(self._reasoning)
        return message | ({"tool_calls": self._calls} if self._calls else {})

    def _open(self, event: ToolCallStart) -> Event | None:
        call_id = new_call_id()
        self._calls.append({"id": call_id, "type": "function", "function": {"name": event.name, "arguments": ""}})
        if not self._is_client_tool(event.name):
            self._server_call_at[event.index] = self._server_calls.open(call_id, event.name)
            return None
        self._client_index[event.index] = self.client_calls
        self.client_calls += 1
        return replace(event, index=self._client_index[event.index], id=call_id)

    def _complete(self, index: int) -> None:
        if call := self._server_call_at.get(index):
            call.arguments = self._calls[index]["function"]["arguments"]
            call.complete = True


class TextJoiner:
    """Joins the texts of several turns: the text of a later turn begins after a blank line."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()

    def join(self, kind: str, text: str, *, starts_turn: bool) -> str:
        """Return the text as the client sees it. `starts_turn`: it is the first text of this kind in its turn."""
        is_separate = starts_turn and kind in self._kinds
        self._kinds.add(kind)
        return TURN_SEPARATOR + text if is_separate else text


def _object_or_empty(text: str) -> str:
    """Return the text if it is a JSON object that can be sent, else that of an empty object."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "{}"
    return text if isinstance(value, dict) else "{}"
