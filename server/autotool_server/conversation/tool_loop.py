"""The loop: turns of one choice, with the calls of server tools between them, under budgets (docs/tools.md).

Calls of client tools end it; calls of server tools are run, their results appended, and the next turn begins. A call is only
ever one that the parser found outside of the think block, and each has exactly one result.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.events import Event, ToolCallStart
from autotool_core.record import TurnRecord
from autotool_server.conversation.transcript import Shown, TurnReader, call_id
from autotool_server.conversation.turn import Turn, TurnOutput
from autotool_server.tools.base import Tool
from autotool_server.tools.calls import ServerCall, TurnCalls
from autotool_server.tools.execute import Outcome
from autotool_server.tools.secrets import Secrets


class NoRoomError(AutoToolError):
    """The conversation has outgrown the model's context (`context`) or the request's bound on tokens (`length`)."""

    def __init__(self, stop_reason: str) -> None:
        super().__init__(stop_reason)
        self.stop_reason = stop_reason


@dataclass(frozen=True, slots=True)
class Budget:
    """How far server tools may go in one request."""

    max_turns: int
    """Turns that may call tools."""
    max_calls: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class ServerTools:
    """What the loop needs of the tools that a request names."""

    tools: Mapping[str, Tool]
    client_names: frozenset[str]
    """Functions of the client's own."""
    budget: Budget
    secrets: Secrets
    escalate: bool
    """Whether a short turn whose call fails is decoded again in `long`."""


@dataclass(frozen=True, slots=True)
class NextTurn:
    """What a turn is made from, beside the request itself."""

    number: int
    messages: Sequence[Mapping[str, Any]]
    """What was said since the request."""
    spent: int
    """Tokens that earlier turns charged to the request's bound."""
    mode: Mode | None
    """None for the request's own."""
    may_call: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened between tokens: an `autotool` event of a stream."""

    event: str
    """`tool_started`, `tool_result` or `turn`."""
    data: Mapping[str, Any]


Output = TurnOutput | Notice


class Conversation:
    """One choice of a request that names no server tools: a single turn. After `run` has ended, the rest says how it went."""

    stop_reason: str | None = None
    """Why the loop ended; None where there is none."""

    def __init__(self, first: Turn) -> None:
        self.choice = first.request.choice
        self.turns = [first]

    @property
    def transcript(self) -> list[dict[str, Any]] | None:
        """Messages to append to the request's own; None where there is no loop."""
        return None

    @property
    def finish_reason(self) -> str:
        """OpenAI's finish reason: calls end a turn with `tool_calls`, unless the bound on tokens cut it."""
        turn = self.turns[-1]
        return "tool_calls" if turn.ledger.tool_calls and turn.finish_reason == "stop" else turn.finish_reason

    def records(self) -> list[TurnRecord]:
        """Every turn's part of the decision record."""
        return [turn.record() for turn in self.turns]

    async def run(self) -> AsyncGenerator[Output]:
        """The turn's outputs. Closing the generator ends everything that was begun for it."""
        async with aclosing(self.turns[0].run()) as outputs:
            async for output in outputs:
                yield TurnOutput([_with_id(event) for event in output.events], output.logprobs)


def _with_id(event: Event) -> Event:
    return replace(event, id=call_id()) if isinstance(event, ToolCallStart) else event


class ToolConversation(Conversation):
    """The one choice of a request that names server tools."""

    def __init__(self, first: Turn, next_turn: Callable[[NextTurn], Turn], server: ServerTools) -> None:
        super().__init__(first)
        self._transcript: list[dict[str, Any]] = []
        self._next_turn = next_turn
        self._server = server
        self._shown = Shown()
        self._called: list[TurnCalls] = []
        self._readers: list[TurnReader] = []
        self._decoded_until: list[float] = []
        self._escalated: dict[int, str] = {}
        self._again: Turn | None = None
        self._limit: str | None = None
        self._deadline = 0.0

    @property
    def transcript(self) -> list[dict[str, Any]]:
        """Messages to append to the request's own."""
        return self._transcript

    @property
    def finish_reason(self) -> str:
        """OpenAI's finish reason: calls of the client's tools end it with `tool_calls`."""
        if self.stop_reason in ("context", "length"):
            return "length"
        reason = self.turns[-1].finish_reason
        called = bool(self._readers) and self._readers[-1].client_calls > 0
        return "tool_calls" if called and reason == "stop" else reason

    def records(self) -> list[TurnRecord]:
        """Every turn's part of the decision record, the calls of server tools in it."""
        return [self._record(at) for at in range(len(self.turns))]

    async def run(self) -> AsyncGenerator[Output]:
        """Turns, calls and results, until an answer, a call of the client's tools or a budget ends it."""
        self._deadline = time.perf_counter() + self._server.budget.max_seconds
        try:
            while True:
                for part in (self._decode, self._act):
                    async with aclosing(part()) as outputs:
                        async for output in outputs:
                            yield output
                following = await self._follow()
                if following is None:
                    return
                yield Notice("turn", self._record(len(self.turns) - 1).model_dump(mode="json"))
                self.turns.append(following)
        finally:
            for called in self._called:
                await called.close(Outcome.NOT_RUN, "The request ended before this call.")

    async def _decode(self) -> AsyncGenerator[Output]:
        """Run the turn; start what is read-only as soon as the model has written it."""
        budget = self._server.budget
        left = budget.max_calls - sum(called.started for called in self._called)
        called = TurnCalls(self._server.tools, self._server.secrets, left, self._deadline)
        reader = TurnReader(called, self._server.client_names.__contains__, self._shown)
        self._called.append(called)
        self._readers.append(reader)
        async with aclosing(self.turns[-1].run()) as outputs:
            async for output in outputs:
                yield TurnOutput([seen for event in output.events if (seen := reader.read(event))], output.logprobs)
                for call in called.begin_eager():
                    yield self._started(call)
                for call in called.finished():
                    yield self._result(call)
        self._decoded_until.append(time.perf_counter())

    async def _act(self) -> AsyncGenerator[Output]:
        """Run the turn's calls, unless it was cut or is to be decoded again."""
        called = self._called[-1]
        if self._was_cut():
            await called.close(Outcome.NOT_RUN, "The answer was cut before this call could run.")
        elif self._may_escalate() and called.refuse_mistakes() and await self._escalate("invalid_arguments"):
            await called.close(Outcome.NOT_RUN, "The turn is decoded again.")
        for call in called.begin():
            yield self._started(call)
        async with aclosing(called.wait()) as ended:
            async for call in ended:
                yield self._result(call)
        if self._may_escalate() and called.failed():
            await self._escalate("error")

    async def _escalate(self, reason: str) -> bool:
        """Have the turn decoded again, in long; False where there is no room for that, and what it called stands."""
        self._again = await self._make(Mode.LONG)
        if self._again is None:
            self.stop_reason = None
            return False
        self._escalated[len(self.turns) - 1] = reason
        return True

    async def _follow(self) -> Turn | None:
        """The turn that follows, if one does; else `stop_reason` says why not."""
        if len(self.turns) - 1 in self._escalated:
            return self._again
        called = self._called[-1]
        results = [{"role": "tool", "tool_call_id": call.id, "content": call.content} for call in called.calls]
        self._transcript += [self._readers[-1].message(), *results]
        if stop_reason := self._end():
            self.stop_reason = stop_reason
            return None
        self._limit = self._limit_reached()
        return await self._make(None) or await self._make_smaller(results)

    def _end(self) -> str | None:
        """Why no turn follows; None where one does."""
        if self._limit is not None:
            return self._limit
        if self._was_cut():
            return self.turns[-1].finish_reason
        if self._readers[-1].client_calls:
            return "client_tools"
        return None if self._called[-1].calls else "answer"

    def _limit_reached(self) -> str | None:
        """The budget that is used up, so that the turn that follows answers without tools."""
        if self._called[-1].refused or self._is_used_up():
            return "max_seconds" if time.perf_counter() >= self._deadline else "max_calls"
        return "max_turns" if len(self.turns) - len(self._escalated) >= self._server.budget.max_turns else None

    async def _make(self, mode: Mode | None) -> Turn | None:
        spent = sum(turn.charged for turn in self.turns)
        try:
            # Rendering and tokenising a long history would hold up every other stream.
            return await asyncio.to_thread(
                self._next_turn, NextTurn(len(self.turns), self._transcript, spent, mode, self._limit is None)
            )
        except NoRoomError as error:
            self.stop_reason = error.stop_reason
            return None

    async def _make_smaller(self, results: list[dict[str, Any]]) -> Turn | None:
        """The turn that follows with the last results left out, where they do not fit into the context."""
        if self.stop_reason != "context":
            return None
        for result in results:
            result["content"] = "Error: The result does not fit into the model's context. Ask for less."
        turn = await self._make(None)
        self.stop_reason = None if turn is not None else self.stop_reason
        return turn

    def _was_cut(self) -> bool:
        """Whether the bound on tokens or a stop string ended the turn."""
        turn = self.turns[-1]
        return turn.finish_reason == "length" or turn.hit_stop

    def _may_escalate(self) -> bool:
        short = self.turns[-1].resolved is ResolvedMode.SHORT and not self._was_cut()
        first = len(self.turns) - 1 not in self._escalated
        return self._server.escalate and short and first and not self._readers[-1].client_calls and not self._is_used_up()

    def _is_used_up(self) -> bool:
        """Whether no further call may start."""
        started = sum(called.started for called in self._called)
        return self._limit is not None or started >= self._server.budget.max_calls or time.perf_counter() >= self._deadline

    def _record(self, at: int) -> TurnRecord:
        record = self.turns[at].record()
        if at >= len(self._called):
            return record
        until = self._decoded_until[at] if at < len(self._decoded_until) else None
        executions = [call.execution(until) for call in self._called[at].calls]
        return record.model_copy(update={"executions": executions, "escalated": self._escalated.get(at)})

    def _started(self, call: ServerCall) -> Notice:
        data = {"turn": len(self.turns) - 1, "id": call.id, "name": call.name, "arguments": call.arguments}
        return Notice("tool_started", data)

    def _result(self, call: ServerCall) -> Notice:
        execution = call.execution(None)
        data = {"turn": len(self.turns) - 1, **execution.model_dump(include={"id", "name", "outcome", "seconds"})}
        return Notice("tool_result", {**data, "content": call.content})
