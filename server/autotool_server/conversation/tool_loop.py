"""The tool loop: turns of one choice, with the calls of server tools between them, under budgets (docs/guides/tools.md).

A call of a client's tool ends the loop, and so does one that the user must approve. Other calls of server tools are run, their
results are appended, and the next turn starts. Only calls that the parser found outside of the think block are run, each at
most once in a request: one that is made again is answered from its first result.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.record import PendingCall, ToolExecution, TurnRecord
from autotool_server.conversation.choice import Choice, ChoiceEnd, Output, StreamEvent
from autotool_server.conversation.loop_types import NextTurn, NoRoomError, ServerTools
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.conversation.transcript import TextJoiner, TurnTranscript
from autotool_server.conversation.turn import Turn
from autotool_server.errors import OverloadedError, RateLimitedError
from autotool_server.tools.calls import TurnCalls
from autotool_server.tools.results import ERROR, Outcome
from autotool_server.tools.server_call import ServerCall


class ToolLoop(Choice[Turn]):
    """The one choice of a request that names server tools."""

    def __init__(self, first: Turn, make_turn: Callable[[NextTurn], Awaitable[Turn]], server: ServerTools) -> None:
        super().__init__(first)
        self._transcript: list[dict[str, Any]] = []
        self._make_turn = make_turn
        self._server = server
        self._joiner = TextJoiner()
        self._made = server.past.made(server.approved)
        self._decided: list[TurnCalls] = []
        self._turn_calls: list[TurnCalls] = []
        self._transcripts: list[TurnTranscript] = []
        self._decoded_until: list[float] = []
        self._escalated: dict[int, str] = {}
        self._escalated_turn: Turn | None = None
        self._limit: str | None = None
        self._deadline = 0.0

    @property
    def transcript(self) -> list[dict[str, Any]]:
        """Messages to append to the request's own."""
        return self._transcript

    @property
    def first_answer(self) -> Sequence[Turn]:
        return self.turns[: 2 if 0 in self._escalated else 1]

    @property
    def pending_calls(self) -> list[PendingCall]:
        waiting = self._turn_calls[-1].awaiting_approval if self.stop_reason == "approval_required" else []
        return [PendingCall(id=call.id, name=call.name, arguments=call.arguments) for call in waiting]

    @property
    def finish_reason(self) -> str:
        """`tool_calls` if calls of client tools ended the choice; `length` if a limit of tokens did; else `stop`."""
        if self.stop_reason in ("context", "length", "key_budget"):
            return "length"
        reason = self.turns[-1].finish_reason
        has_client_calls = bool(self._transcripts) and self._transcripts[-1].client_calls > 0
        return "tool_calls" if has_client_calls and reason == "stop" else reason

    def records(self) -> list[TurnRecord]:
        """Return every turn's part of the decision record, with its calls of server tools."""
        return [self._record(index) for index in range(len(self.turns))]

    def executions(self, number: int) -> list[ToolExecution]:
        return self._executions(number, self._turn_calls[number : number + 1])

    async def run(self) -> AsyncGenerator[Output]:
        """Run turns and calls until an answer, a call of a client's tool or a budget ends the loop."""
        self._deadline = time.perf_counter() + self._server.budget.max_seconds
        try:
            if self._server.past.waiting:
                async with aclosing(self._run_decided()) as outputs:
                    async for output in outputs:
                        yield output
            while self.stop_reason is None:
                for phase in (self._decode, self._run_calls):
                    async with aclosing(phase()) as outputs:
                        async for output in outputs:
                            yield output
                if (next_turn := await self._next()) is not None:
                    yield StreamEvent("turn", self._record(len(self.turns) - 1).model_dump(mode="json"))
                    await self._begin(next_turn)
        finally:
            for calls in (*self._decided, *self._turn_calls):
                await calls.close(Outcome.NOT_RUN, "The request ended.")
        yield ChoiceEnd(self.finish_reason, self.turns[-1].stop_string)

    def _open_calls(self) -> TurnCalls:
        left = self._server.budget.max_calls - self._num_started
        server, made = self._server, self._made.copy()
        limits = server.limits, server.audit
        return TurnCalls(server.tools, server.secrets, *limits, max_calls=left, deadline=self._deadline, made=made)

    async def _run_decided(self) -> AsyncGenerator[Output]:
        """Run the calls that the user has approved; make the first turn anew, which reads their results."""
        calls = self._open_calls()
        self._decided.append(calls)
        for call in self._server.past.to_run(self._server.tools):
            yield self._called(calls.add(call))
        for call in calls.start():
            yield self._started(call)
        async with aclosing(calls.wait()) as finished:
            async for call in finished:
                yield self._result(call)
        self._made = calls.made
        turn = await self._make_next(_results(calls))
        if turn is not None and await self._may_begin(turn, ()):
            self.turns[0] = turn

    async def _begin(self, turn: Turn) -> None:
        if await self._may_begin(turn, self.turns):
            self.turns.append(turn)
            self.on_next_turn()

    async def _may_begin(self, turn: Turn, earlier: Sequence[Turn]) -> bool:
        """Return whether a further turn may begin. If not, set `stop_reason`.

        An error would lose the results of calls, and clients would send a request again whose calls have acted.
        """
        try:
            await self.before_next_turn(turn, earlier)
        except (RateLimitedError, OverloadedError):
            self.stop_reason = "key_budget"
            return False
        return True

    async def _decode(self) -> AsyncGenerator[Output]:
        """Run the turn; start its read-only calls as soon as the model has written them."""
        calls = self._open_calls()
        transcript = TurnTranscript(calls, self._server.client_names.__contains__, self._joiner)
        self._turn_calls.append(calls)
        self._transcripts.append(transcript)
        num_called = 0
        async with aclosing(self.turns[-1].run()) as outputs:
            async for output in outputs:
                yield TurnOutput([seen for event in output.events if (seen := transcript.read(event))], output.logprobs)
                for call in calls.calls[num_called:]:
                    if not call.may_need_approval:
                        yield self._called(call)
                num_called = len(calls.calls)
                for call in calls.start_eager():
                    yield self._started(call)
                for call in calls.finished():
                    yield self._result(call)
        self._decoded_until.append(time.perf_counter())

    async def _run_calls(self) -> AsyncGenerator[Output]:
        """Run the turn's calls, unless it was cut or is to be decoded again."""
        calls = self._turn_calls[-1]
        if self._is_cut():
            await calls.close(Outcome.NOT_RUN, "The answer was cut.")
        elif self._may_escalate() and calls.reject_invalid() and await self._escalate("invalid_arguments"):
            await calls.close(Outcome.NOT_RUN, "The turn is decoded again.")
        for call in calls.start():
            yield self._started(call)
        async with aclosing(calls.wait()) as finished:
            async for call in finished:
                yield self._result(call)
        if self._may_escalate() and calls.failed_repeatably() and await self._escalate("error"):
            return
        for call in calls.awaiting_approval:
            yield self._event("approval_required", call, arguments=call.arguments)

    async def _escalate(self, reason: str) -> bool:
        """Plan to decode the turn again in `long`. Return False if the context has no room for that: the turn stays valid."""
        try:
            self._escalated_turn = await self._make(Mode.LONG)
        except InvalidRequestError:
            # A template argument of the request may fit its own mode only.
            return False
        if self._escalated_turn is None:
            self.stop_reason = None
            return False
        self._escalated[len(self.turns) - 1] = reason
        return True

    async def _next(self) -> Turn | None:
        """Return the next turn. If there is none, return None and set `stop_reason`."""
        if len(self.turns) - 1 in self._escalated:
            return self._escalated_turn
        self._made = self._turn_calls[-1].made
        results = _results(self._turn_calls[-1])
        self._transcript.append(self._transcripts[-1].message())
        if stop_reason := self._end_reason():
            self._transcript += results
            self.stop_reason = stop_reason
            return None
        return await self._make_next(results)

    async def _make_next(self, results: list[dict[str, Any]]) -> Turn | None:
        """Return the turn that reads these results. If it has no room, return None and set `stop_reason`."""
        self._transcript += results
        self._limit = self._exhausted_budget()
        return await self._make(None) or await self._make_without_results(results)

    def _end_reason(self) -> str | None:
        """Return why the loop ends after this turn; None if another turn follows."""
        if self._limit is not None:
            return self._limit
        if self._is_cut():
            return self.turns[-1].finish_reason
        if self._turn_calls[-1].awaiting_approval:
            return "approval_required"
        if self._transcripts[-1].client_calls:
            return "client_tools"
        return None if self._turn_calls[-1].calls else "answer"

    def _exhausted_budget(self) -> str | None:
        """Return why the next turn answers without tools, a budget that is used up or a repeated call; None if it may call."""
        if self._made.is_circling:
            return "repeated_call"
        if (self._turn_calls or self._decided)[-1].exceeded_budget or self._is_exhausted():
            return "max_seconds" if time.perf_counter() >= self._deadline else "max_calls"
        num_turns = len(self._turn_calls) - len(self._escalated)
        return "max_turns" if num_turns >= self._server.budget.max_turns else None

    async def _make(self, mode: Mode | None) -> Turn | None:
        spent = sum(turn.charged_tokens for turn in self.turns)
        step = NextTurn(len(self._turn_calls), self._transcript, spent, mode, self._limit is None)
        try:
            turn = await self._make_turn(step)
        except NoRoomError as error:
            self.stop_reason = error.stop_reason
            return None
        turn.due = self.turns[0].due  # others may pass a request once, and not in each of its turns
        return turn

    async def _make_without_results(self, results: list[dict[str, Any]]) -> Turn | None:
        """Make the next turn without the last results, if these do not fit into the context."""
        if self.stop_reason != "context":
            return None
        for result in results:
            result["content"] = f"{ERROR}The result does not fit into the model's context. Ask for less."
        turn = await self._make(None)
        self.stop_reason = None if turn is not None else self.stop_reason
        return turn

    def _is_cut(self) -> bool:
        """Whether the limit of tokens, a stop string or a stop token ended the turn."""
        turn = self.turns[-1]
        return turn.finish_reason == "length" or (turn.stop_string, turn.stop_token_id) != (None, None)

    def _may_escalate(self) -> bool:
        short = self.turns[-1].resolved is ResolvedMode.SHORT and not self._is_cut()
        first = len(self.turns) - 1 not in self._escalated
        return self._server.escalate and short and first and not self._transcripts[-1].client_calls and not self._is_exhausted()

    def _is_exhausted(self) -> bool:
        """Whether no further call may start."""
        is_late = time.perf_counter() >= self._deadline
        return self._limit is not None or is_late or self._num_started >= self._server.budget.max_calls

    @property
    def _num_started(self) -> int:
        """The calls that are charged to the budget."""
        return sum(calls.num_started for calls in (*self._decided, *self._turn_calls))

    def _record(self, index: int) -> TurnRecord:
        decided = self._executions(index, self._decided if index == 0 else ())
        executions = [*decided, *self.executions(index)]
        return self.turns[index].record().model_copy(update={"executions": executions, "escalated": self._escalated.get(index)})

    def _executions(self, number: int, run: Sequence[TurnCalls]) -> list[ToolExecution]:
        until = self._decoded_until[number] if number < len(self._decoded_until) else None
        return [call.execution(until) for calls in run for call in calls.calls]

    def _called(self, call: ServerCall) -> StreamEvent:
        return self._event("tool_called", call, **({} if call.approved is None else {"approved": call.approved}))

    def _started(self, call: ServerCall) -> StreamEvent:
        return self._event("tool_started", call, arguments=call.arguments)

    def _result(self, call: ServerCall) -> StreamEvent:
        done = call.execution(None).model_dump(include={"name", "outcome", "seconds"})
        return self._event("tool_result", call, **done, arguments=call.arguments, content=call.content)

    def _event(self, event: str, call: ServerCall, **data: Any) -> StreamEvent:
        return StreamEvent(event, {"turn": len(self.turns) - 1, "id": call.id, "name": call.name, **data})


def _results(calls: TurnCalls) -> list[dict[str, Any]]:
    """Return the messages with the results of the calls; those that wait for approval have none."""
    answered = [call for call in calls.calls if not call.awaits_approval]
    return [{"role": "tool", "tool_call_id": call.id, "content": call.content} for call in answered]
