"""The way out: from a job's outputs to a response object, and to the events of a stream. Both have the same items."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.tokenizer import Tokenizer
from autotool_server import errors
from autotool_server.api.openai_answers import logprob_entries
from autotool_server.api.protocol import ResponseBuilder, StreamWriter
from autotool_server.api.responses.history import approval_id, server_call_id
from autotool_server.api.responses.output import (
    ApprovalRequest,
    Emit,
    FunctionCall,
    Item,
    MessageItem,
    ReasoningItem,
    ServerCall,
)
from autotool_server.api.responses.response import ResponseObject
from autotool_server.api.responses.schemas import ResponsesRequest
from autotool_server.api.responses.seal import Seal
from autotool_server.conversation.choice import Choice, ChoiceEnd, Output, StreamEvent
from autotool_server.conversation.job import Job
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.conversation.transcript import TURN_SEPARATOR
from autotool_server.engines.base import TokenLogprob

ItemT = TypeVar("ItemT", bound=Item)


def new_id(prefix: str) -> str:
    """Return a new id of an item."""
    return f"{prefix}_{uuid.uuid4().hex}"


class OutputItems:
    """Makes the output items of a job's outputs. `emit` takes the events."""

    def __init__(self, body: ResponsesRequest, job: Job, tokenizer: Tokenizer, seal: Seal, emit: Emit) -> None:
        self.is_cut = False
        """Whether a limit of tokens ended the response."""
        self._body = body
        self._tokenizer = tokenizer
        self._seal = seal
        self._emit = emit
        self._has_server_tools = job.choices[0].transcript is not None
        self._items: list[Item] = []
        self._dropped = set[int]()
        self._turn = 0
        self._turn_starts_at = 0
        self._seen: dict[type[Item], int] = {}
        """The last turn that had a text of a kind."""
        self._text: MessageItem | ReasoningItem | None = None
        self._logprobs: list[dict[str, Any]] = []
        self._calls: dict[int, FunctionCall] = {}
        self._server_calls: dict[str, ServerCall] = {}

    @property
    def values(self) -> list[dict[str, Any]]:
        """The items as JSON values, without those of a turn that was decoded again."""
        return [item.value for index, item in enumerate(self._items) if index not in self._dropped]

    def add(self, output: Output) -> None:
        """Take in the next output."""
        match output:
            case TurnOutput():
                self._logprobs += _logprobs(output.logprobs, self._tokenizer) if self._body.includes_logprobs else []
                for event in output.events:
                    self._add_event(event)
            case StreamEvent(event, data):
                self._add_step(event, data)
            case ChoiceEnd(finish_reason):
                self._end(is_cut=finish_reason == "length")

    def abort(self) -> None:
        """End the items that are not complete."""
        for item in self._items:
            item.close("incomplete")

    def _add_event(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text):
                self._reasoning(text)
            case ContentDelta(text):
                self._content(text)
            case ToolCallStart(index, name, call_id):
                self._close_text()
                self._calls[index] = self._append(
                    FunctionCall(self._head("fc"), len(self._items), self._emit, name=name, call_id=call_id)
                )
            case ToolCallArguments(index, text):
                self._calls[index].write(text)
            case ToolCallEnd(index):
                self._calls[index].close("completed")

    def _add_step(self, event: str, data: Mapping[str, Any]) -> None:
        """Take in what happened between tokens: calls of server tools, and the end of a turn."""
        match event:
            case "tool_called":
                self._server_call(data)
            case "tool_started":
                self._server_call(data).start(data["arguments"])
            case "tool_result":
                self._server_call(data).end(data)
            case "approval_required":
                self._close_text()
                head = self._head("mcpr") | {"id": approval_id(data["id"])}
                call = {"name": data["name"], "arguments": data["arguments"]}
                self._append(ApprovalRequest(head, len(self._items), self._emit, **call))
            case "turn":
                self._end_turn(dropped=data["escalated"] is not None)
            case _:
                pass

    def _server_call(self, data: Mapping[str, Any]) -> ServerCall:
        """Return the item of a call; it begins with the call's first event."""
        call_id = data["id"]
        if call_id not in self._server_calls:
            self._close_text()
            head = self._head("mcp") | {"id": server_call_id(call_id)}
            asked = approval_id(call_id) if "approved" in data else None
            item = ServerCall(head, len(self._items), self._emit, name=data["name"], approval_request_id=asked)
            self._server_calls[call_id] = self._append(item)
            if asked is not None:
                # The calls that the request decides about stand before its first turn, and stay if that is decoded again.
                self._turn_starts_at = len(self._items)
        return self._server_calls[call_id]

    def _reasoning(self, text: str) -> None:
        text = self._without_separator(ReasoningItem, text)
        if not isinstance(self._text, ReasoningItem):
            self._close_text()
            seal = self._seal.seal if self._body.includes_sealed_reasoning else None
            self._text = self._append(
                ReasoningItem(self._head("rs"), len(self._items), self._emit, has_summary=self._body.wants_summary, seal=seal)
            )
        self._text.write(text)

    def _content(self, text: str) -> None:
        text = self._without_separator(MessageItem, text)
        message = self._text if isinstance(self._text, MessageItem) else self._open_message()
        message.write(text, self._logprobs)
        self._logprobs = []

    def _open_message(self) -> MessageItem:
        self._close_text()
        self._text = message = self._append(MessageItem(self._head("msg"), len(self._items), self._emit))
        return message

    def _without_separator(self, kind: type[Item], text: str) -> str:
        """Return a turn's text without what separates it from an earlier turn's, which is an item of its own here."""
        last, self._seen[kind] = self._seen.get(kind), self._turn
        return text.removeprefix(TURN_SEPARATOR) if last not in (None, self._turn) else text

    def _close_text(self) -> None:
        if self._text is not None:
            self._text.close("completed")
        self._text = None

    def _end_turn(self, *, dropped: bool) -> None:
        self._close_text()
        if dropped:
            self._dropped |= set(range(self._turn_starts_at, len(self._items)))
        self._turn += 1
        self._turn_starts_at = len(self._items)
        self._logprobs = []

    def _end(self, *, is_cut: bool) -> None:
        self.is_cut = is_cut
        # Clients look for a message, even one without a text.
        if not is_cut and not any(not isinstance(item, ReasoningItem) for item in self._items[self._turn_starts_at :]):
            self._open_message()
        if not is_cut:
            self._close_text()
        self.abort()

    def _append(self, item: ItemT) -> ItemT:
        self._items.append(item)
        return item

    def _head(self, prefix: str) -> dict[str, Any]:
        """Return the beginning of an item. With server tools it has its turn, so that the history has the same turns again."""
        return {"id": new_id(prefix)} | ({"turn": self._turn} if self._has_server_tools else {})


class ResponsesBuilder(ResponseBuilder):
    """Collects a job's outputs into one response object."""

    def __init__(self, response: ResponseObject, body: ResponsesRequest, tokenizer: Tokenizer, seal: Seal) -> None:
        self.response = response
        self._items = OutputItems(body, response.job, tokenizer, seal, _no_event)

    def add(self, choice: Choice, output: Output) -> None:
        self._items.add(output)
        if isinstance(output, ChoiceEnd):
            self.response.end(self._items.values, is_cut=self._items.is_cut)

    def build(self) -> dict[str, Any]:
        return self.response.value


class EventWriter(StreamWriter):
    """Writes a job's outputs as server-sent events with sequence numbers."""

    def __init__(self, response: ResponseObject, body: ResponsesRequest, tokenizer: Tokenizer, seal: Seal) -> None:
        self.response = response
        self._items = OutputItems(body, response.job, tokenizer, seal, self._emit)
        self._number = 0
        self._written: list[str] = []
        for kind in ("response.created", "response.in_progress"):
            self._emit(kind, response=response.value)

    def write(self, choice: Choice, output: Output) -> str:
        self._items.add(output)
        if isinstance(output, ChoiceEnd):
            self.response.end(self._items.values, is_cut=self._items.is_cut)
        return self._take()

    def end(self) -> str:
        self._emit(f"response.{self.response.value['status']}", response=self.response.value)
        return self._take()

    def fail(self, error: Exception) -> str:
        """Return the events of an error: that of the stream, and that of the response."""
        self._items.abort()
        fault = errors.describe(error)[1]["error"]
        self._emit("error", code=fault["code"], message=fault["message"], param=fault["param"])
        self.response.fail(fault["message"], self._items.values)
        self._emit("response.failed", response=self.response.value)
        return self._take()

    def _emit(self, kind: str, /, **fields: Any) -> None:
        data = json.dumps({"type": kind, "sequence_number": self._number, **fields})
        self._written.append(f"event: {kind}\ndata: {data}\n\n")
        self._number += 1

    def _take(self) -> str:
        text = "".join(self._written)
        self._written.clear()
        return text


def _no_event(_kind: str, /, **_fields: Any) -> None:
    """Tell nobody."""


def _logprobs(logprobs: Sequence[TokenLogprob], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Return log-probabilities in the form of this protocol, in which the bytes of a token are always a list."""
    return [
        {**_with_bytes(entry), "top_logprobs": [_with_bytes(top) for top in entry["top_logprobs"]]}
        for entry in logprob_entries(logprobs, tokenizer)
    ]


def _with_bytes(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "bytes": entry["bytes"] or []}
