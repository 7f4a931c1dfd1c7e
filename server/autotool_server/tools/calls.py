"""The calls of server tools in one turn: started, some while the model still decodes, and each brought to a result."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from autotool_core.record import ToolExecution
from autotool_server.tools.base import Tool
from autotool_server.tools.execute import FAILURES, MISTAKES, Outcome, Result, check, execute, refusal
from autotool_server.tools.secrets import Secrets

MAY_BE_DONE = {Outcome.OK, Outcome.TIMEOUT, Outcome.OVERSIZE, Outcome.BUDGET}
NO_CALLS = "The budget of tool calls is used up. Answer with what you have."
NO_TIME = "The budget of time for tools is used up. Answer with what you have."


@dataclass(slots=True)
class ServerCall:
    """A call that the model made of a server tool, or of one that does not exist."""

    id: str
    name: str
    tool: Tool | None
    arguments: str = ""
    complete: bool = False
    task: asyncio.Task[Result] | None = None
    result: Result | None = None
    told: bool = False
    """Whether its result has been handed out by `finished`."""

    @property
    def is_new(self) -> bool:
        """Whether it has neither been started nor refused."""
        return self.task is None and self.result is None

    @property
    def content(self) -> str:
        """What the model reads of its result."""
        return self.result.content if self.result is not None else ""

    @property
    def is_eager(self) -> bool:
        """Whether it may start before its turn has ended."""
        return self.is_new and self.complete and self.tool is not None and self.tool.spec.policy.read_only

    def execution(self, decoded_until: float | None) -> ToolExecution:
        """Its part of the record; `decoded_until` is when the model stopped decoding the turn, as `time.perf_counter`."""
        result = self.result or refusal(Outcome.NOT_RUN, "")
        overlap = min(result.ended, decoded_until) - result.started if decoded_until is not None and result.started else 0.0
        return ToolExecution(
            id=self.id,
            name=self.name[:64],
            outcome=result.outcome,
            seconds=result.ended - result.started,
            overlap_seconds=max(overlap, 0.0),
            attempts=result.attempts,
            result_bytes=len(result.content.encode()),
        )


class TurnCalls:
    """Runs the calls of one turn: at most `allowed` of them, until `deadline` (as `time.perf_counter`)."""

    def __init__(self, tools: Mapping[str, Tool], secrets: Secrets, allowed: int, deadline: float) -> None:
        self.calls: list[ServerCall] = []
        self._tools = tools
        self._secrets = secrets
        self._allowed = allowed
        self._deadline = deadline

    @property
    def started(self) -> int:
        """How many calls were begun, and so charged to the budget."""
        return sum(call.task is not None for call in self.calls)

    @property
    def refused(self) -> bool:
        """Whether a call was refused or ended because a budget is used up."""
        return any(call.result is not None and call.result.outcome is Outcome.BUDGET for call in self.calls)

    def open(self, call_id: str, name: str) -> ServerCall:
        """A call whose name the model has written."""
        self.calls.append(ServerCall(call_id, name, self._tools.get(name)))
        return self.calls[-1]

    def begin(self, call: ServerCall) -> bool:
        """Check a call and start it; False where it was refused and has its result."""
        arguments = check(call.tool, call.name, call.arguments if call.complete else None)
        if isinstance(arguments, Result):
            call.result = arguments
        elif time.perf_counter() >= self._deadline:
            call.result = refusal(Outcome.BUDGET, NO_TIME)
        elif self.started >= self._allowed:
            call.result = refusal(Outcome.BUDGET, NO_CALLS)
        elif call.tool is not None:
            call.task = asyncio.create_task(execute(call.tool, arguments, self._secrets))
        return call.task is not None

    def mistaken(self) -> bool:
        """Whether a call has no tool or arguments that do not fit."""
        checked = (check(call.tool, call.name, call.arguments if call.complete else None) for call in self.calls)
        return any(isinstance(one, Result) and one.outcome in MISTAKES for one in checked)

    def failed(self) -> bool:
        """Whether a call that ran went wrong, and no other did anything that must not be done twice."""
        ended = [(call.tool, call.result.outcome) for call in self.calls if call.tool is not None and call.result is not None]
        # What timed out, or said too much, may have been done all the same.
        repeatable = all(tool.spec.policy.idempotent or outcome not in MAY_BE_DONE for tool, outcome in ended)
        return repeatable and any(outcome in FAILURES for _, outcome in ended)

    def finished(self) -> list[ServerCall]:
        """The calls that have ended since this was last asked."""
        for call in self.calls:
            if call.task is not None and call.task.done() and call.result is None:
                call.result = call.task.result()
        ended = [call for call in self.calls if call.result is not None and not call.told]
        for call in ended:
            call.told = True
        return ended

    async def wait(self) -> AsyncGenerator[ServerCall]:
        """Every call as it ends. At the deadline those still running are cancelled."""
        while running := [call.task for call in self.calls if call.task is not None and call.result is None]:
            left = max(self._deadline - time.perf_counter(), 0)
            await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for call in self.finished():
                yield call
            if time.perf_counter() >= self._deadline:
                await self.close(Outcome.BUDGET, NO_TIME)
        for call in self.finished():
            yield call

    async def close(self, outcome: Outcome, why: str) -> None:
        """End what still runs, and give every call without a result this one."""
        running = [call.task for call in self.calls if call.task is not None and not call.task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for call in self.calls:
            if call.task is not None and call.result is None and not call.task.cancelled():
                call.result = call.task.result()
            call.result = call.result or refusal(outcome, why)
