"""The calls of server tools in one turn: started, some while the model still decodes, and each brought to a result."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from autotool_core.record import ToolExecution
from autotool_server.tools.base import Tool
from autotool_server.tools.execute import FAILURES, MAX_MESSAGE, MISTAKES, Outcome, Result, check, execute, refusal
from autotool_server.tools.secrets import Secrets

logger = logging.getLogger(__name__)

END_SECONDS = 5.0
"""How long a tool may take to end once its call is cancelled; after that it is no longer waited for."""
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

    def begin_eager(self) -> list[ServerCall]:
        """Start what is read-only and complete; those that were started. Calls that stand before it keep their budget."""
        return [call for call in self.calls[: max(self._allowed, 0)] if call.is_eager and self._begin(call)]

    def begin(self) -> list[ServerCall]:
        """Check every call that is new and start it; those that were started. The others have their result."""
        return [call for call in self.calls if call.is_new and self._begin(call)]

    def _begin(self, call: ServerCall) -> bool:
        arguments = self._check(call)
        if isinstance(arguments, Result):
            call.result = arguments
        elif time.perf_counter() >= self._deadline:
            call.result = refusal(Outcome.BUDGET, NO_TIME)
        elif self.started >= self._allowed:
            call.result = refusal(Outcome.BUDGET, NO_CALLS)
        elif call.tool is not None:
            call.task = asyncio.create_task(self._run(call.tool, arguments))
        return call.task is not None

    def _check(self, call: ServerCall) -> Mapping[str, Any] | Result:
        checked = check(call.tool, call.name, call.arguments if call.complete else None)
        if not isinstance(checked, Result):
            return checked
        # A complaint quotes the schema and the arguments. It is cut last: half a secret would not be found.
        return replace(checked, content=self._secrets.redact(checked.content)[:MAX_MESSAGE])

    async def _run(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        """The call's result, or that of the budget, which goes on while the model still decodes."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline - started):
                return await execute(tool, arguments, self._secrets)
        except TimeoutError:
            return Result(Outcome.BUDGET, f"Error: {NO_TIME}", started, time.perf_counter(), attempts=1, may_be_done=True)

    def refuse_mistakes(self) -> bool:
        """Give calls that have no tool, or arguments that do not fit, their result; whether there were any."""
        for call in self.calls:
            checked = self._check(call) if call.is_new else None
            call.result = checked if isinstance(checked, Result) else call.result
        return any(call.result is not None and call.result.outcome in MISTAKES for call in self.calls)

    def failed(self) -> bool:
        """Whether a call that ran went wrong, and none may have done anything that must not be done twice."""
        ended = [(call.tool, call.result) for call in self.calls if call.tool is not None and call.result is not None]
        repeatable = all(tool.spec.policy.idempotent or not result.may_be_done for tool, result in ended)
        return repeatable and any(result.outcome in FAILURES for _, result in ended)

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
        """End what still runs, and give every call without a result this one; the name of no tool remains that."""
        running = [call for call in self.calls if call.task is not None and call.result is None and not call.task.done()]
        tasks = [call.task for call in running if call.task is not None]
        for task in tasks:
            # A second time would break off a tool's own cleaning up.
            if task.cancelling() == 0:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_SECONDS)
        for call in running:
            if call.task is not None and not call.task.done():
                logger.warning("tool %s still runs %g s after its call was cancelled", call.name, END_SECONDS)
        for call in self.calls:
            if call.task is not None and call.result is None and call.task.done() and not call.task.cancelled():
                call.result = call.task.result()
            unknown = self._check(call) if call.tool is None else None
            call.result = call.result or (unknown if isinstance(unknown, Result) else refusal(outcome, why))
