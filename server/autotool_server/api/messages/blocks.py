"""A job's outputs as content blocks that open, grow and close. The whole answer and the stream are made from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_server.api.messages.reasoning import sealed, signature
from autotool_server.conversation.choice import ChoiceEnd, Output, StreamEvent
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.conversation.transcript import TURN_SEPARATOR

DELTA_KEYS = {"text": "text", "thinking": "thinking", "signature": "signature", "input_json": "partial_json"}
"""The key of each kind of delta."""

DIRECT = {"caller": {"type": "direct"}}
"""Who makes a call: the model itself, and not a program that it has written."""
EMPTY: dict[str, dict[str, Any]] = {"text": {"text": "", "citations": None}, "thinking": {"thinking": "", "signature": ""}}
"""The keys of new blocks of text."""


@dataclass(frozen=True, slots=True)
class BlockStart:
    """A block opens."""

    block: dict[str, Any]
    """Anthropic's content block, still empty."""


@dataclass(frozen=True, slots=True)
class BlockDelta:
    """The open block grows."""

    kind: str
    """One of `DELTA_KEYS`."""
    text: str


@dataclass(frozen=True, slots=True)
class BlockStop:
    """The open block closes."""


BlockEvent = BlockStart | BlockDelta | BlockStop


def tool_use_id(call_id: str) -> str:
    """Return the id of a call in Anthropic's form."""
    return f"toolu_{call_id.removeprefix('call_')}"


class BlockReader:
    """Reads outputs of one choice. `shows_thinking`: whether thinking blocks have their text, or only a signature."""

    def __init__(self, *, shows_thinking: bool) -> None:
        self._shows_thinking = shows_thinking
        self._open: str | None = None
        """The type of the open block."""
        self._thinking: list[str] = []
        """The text of the open thinking block."""
        self._earlier = set[str]()
        """Types of text in turns that have ended."""
        self._current = set[str]()
        """Types of text in this turn."""

    def read(self, output: Output) -> Iterator[BlockEvent]:
        """Yield what an output does to the blocks."""
        match output:
            case TurnOutput():
                for event in output.events:
                    yield from self._event(event)
            case StreamEvent("turn"):
                yield from self._close()
                self._earlier |= self._current
                self._current.clear()
            case ChoiceEnd():
                yield from self._close()
            case _:
                pass

    def _event(self, event: Event) -> Iterator[BlockEvent]:
        match event:
            case ContentDelta(text):
                yield from self._text("text", text)
            case ReasoningDelta(text):
                yield from self._text("thinking", text)
            case ToolCallStart(_, name, call_id):
                yield from self._start("tool_use", {"id": tool_use_id(call_id), "name": name, "input": {}} | DIRECT)
            case ToolCallArguments(_, text):
                yield BlockDelta("input_json", text)
            case ToolCallEnd():
                yield from self._close()

    def _text(self, kind: str, text: str) -> Iterator[BlockEvent]:
        if kind not in self._current and kind in self._earlier:
            # A new block stands apart by itself.
            text = text.removeprefix(TURN_SEPARATOR)
        self._current.add(kind)
        if not text:
            return
        if self._open != kind:
            yield from self._start(kind, EMPTY[kind])
        if kind == "thinking":
            self._thinking.append(text)
        if kind == "text" or self._shows_thinking:
            yield BlockDelta(kind, text)

    def _start(self, kind: str, rest: dict[str, Any]) -> Iterator[BlockEvent]:
        yield from self._close()
        self._open = kind
        yield BlockStart({"type": kind, **rest})

    def _close(self) -> Iterator[BlockEvent]:
        if self._open == "thinking":
            text = "".join(self._thinking)
            self._thinking.clear()
            yield BlockDelta("signature", signature(text) if self._shows_thinking else sealed(text))
        if self._open is not None:
            yield BlockStop()
        self._open = None
