"""One choice of a request: the turn that answers it, and how it ended."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from autotool_core.modes import ResolvedMode
from autotool_core.parsing.events import Event, ToolCallStart
from autotool_core.record import PendingCall, ToolExecution, TurnRecord
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.engines.base import FinishReason


class Generation(Protocol):
    """What a choice, its job and the metrics know of a turn, whether of a conversation or of plain text."""

    @property
    def index(self) -> int:
        """Index of the choice that the turn belongs to."""
        ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def finish_reason(self) -> FinishReason: ...

    @property
    def stop_string(self) -> str | None: ...

    @property
    def resolved(self) -> ResolvedMode | None: ...

    @property
    def p_long(self) -> float | None: ...

    @property
    def prompt_ids(self) -> Sequence[int]: ...

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def max_decoded_tokens(self) -> int:
        """Tokens that the turn may decode, besides that of the decision, as far as its request or the server limits them."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """Tokens that the turn may decode or have injected, as far as its request or the server limits them."""
        ...

    due: float | None
    """The time by which the engine orders its requests (`EngineRequest.due`); None for their arrival."""

    def run(self) -> AsyncGenerator[TurnOutput]: ...

    def record(self) -> TurnRecord: ...


TurnT_co = TypeVar("TurnT_co", bound=Generation, covariant=True)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something that happened between tokens: an `autotool` event of a stream."""

    event: str
    """`tool_called` (the model has begun a call of a server tool; left out where it may need approval), `tool_started`,
    `tool_result`, `approval_required` or `turn`."""
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChoiceEnd:
    """The end of a choice."""

    finish_reason: str
    """`stop`, `length` or `tool_calls`."""
    stop_string: str | None = None
    """The stop string that ended the answer; None if none did."""


Output = TurnOutput | StreamEvent | ChoiceEnd


def new_call_id() -> str:
    """Return a new id of a tool call."""
    return f"call_{uuid.uuid4().hex[:24]}"


class Choice(Generic[TurnT_co]):
    """A choice of one turn, without server tools. After `run` has ended, the attributes describe how it went."""

    stop_reason: str | None = None
    """Why the tool loop ended; None where there is none."""

    def __init__(self, first: TurnT_co) -> None:
        self.index = first.index
        self.turns = [first]
        self.on_next_turn: Callable[[], None] = lambda: None
        """Called when a tool loop begins a turn after its first."""
        self.before_next_turn: Callable[[Generation, Sequence[Generation]], Awaitable[None]] = _let_it_begin
        """Awaited with a further turn of a tool loop before it begins, and those before it; raises what is to end the loop."""

    @property
    def transcript(self) -> list[dict[str, Any]] | None:
        """Messages to append to the request's own; None where there is no tool loop."""
        return None

    @property
    def first_answer(self) -> Sequence[TurnT_co]:
        """The first turn, and the one that was decoded in its place where it was escalated."""
        return self.turns[:1]

    @property
    def pending_calls(self) -> list[PendingCall]:
        """The calls of server tools that wait for the user's approval."""
        return []

    @property
    def finish_reason(self) -> str:
        """`tool_calls` if the turn ended with calls; `length` if a limit of tokens cut it; else `stop`."""
        turn = self.turns[-1]
        return "tool_calls" if turn.ledger.tool_calls and turn.finish_reason == "stop" else turn.finish_reason

    def records(self) -> list[TurnRecord]:
        """Return every turn's part of the decision record."""
        return [turn.record() for turn in self.turns]

    def executions(self, number: int) -> list[ToolExecution]:
        """Return the calls of server tools that a turn has made: not those that the user had decided about before it."""
        return []

    async def run(self) -> AsyncGenerator[Output]:
        """Yield the turn's outputs, then the end. Closing the generator ends everything that was started for it."""
        async with aclosing(self.turns[0].run()) as outputs:
            async for output in outputs:
                yield _with_ids(output)
        yield ChoiceEnd(self.finish_reason, self.turns[0].stop_string)


async def _let_it_begin(_: Generation, __: Sequence[Generation]) -> None:
    """Let a turn begin."""


def _with_ids(output: TurnOutput) -> TurnOutput:
    """Give the calls of an output ids. Hardly any output has one, and there is one for every token."""
    for event in output.events:
        if isinstance(event, ToolCallStart):
            return replace(output, events=[_with_id(event) for event in output.events])
    return output


def _with_id(event: Event) -> Event:
    return replace(event, id=new_call_id()) if isinstance(event, ToolCallStart) else event
