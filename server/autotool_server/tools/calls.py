"""The calls of server tools in one turn: checked, started (read-only ones while the model still decodes) and awaited."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from autotool_server.tools.audit import UNWRITABLE, Audit
from autotool_server.tools.base import Tool
from autotool_server.tools.execute import MAX_MESSAGE_CHARACTERS, check, execute
from autotool_server.tools.limits import CallLimits
from autotool_server.tools.made import MadeCalls
from autotool_server.tools.results import (
    FAILURE_OUTCOMES,
    INVALID_OUTCOMES,
    NOT_APPROVED,
    Outcome,
    Result,
    interruption,
    rejection,
)
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.server_call import ServerCall
from autotool_server.tracing import spans
from autotool_server.tracing.spans import Attributes

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 5.0
"""How long a cancelled call is waited for."""
CALLS_USED_UP = "The budget of tool calls is used up. Answer with what you have."
TIME_USED_UP = "The budget of time for tools is used up. Answer with what you have."


class TurnCalls:
    """Runs the calls of one turn: at most `max_calls`, until `deadline` (as `time.perf_counter`).

    `made` are the calls of the turns before it, to which its own are added.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        secrets: Secrets,
        limits: CallLimits,
        audit: Audit,
        *,
        max_calls: int,
        deadline: float,
        made: MadeCalls,
    ) -> None:
        self.calls: list[ServerCall] = []
        self.made = made
        self._tools = tools
        self._secrets = secrets
        self._limits = limits
        self._audit = audit
        self._max_calls = max_calls
        self._deadline = deadline
        # Fixed for the turn, so that its calls of one tool are all treated alike.
        self._allowed = frozenset(made.allowed)

    @property
    def num_started(self) -> int:
        """The number of started calls, which are charged to the budget."""
        return sum(call.task is not None for call in self.calls)

    @property
    def exceeded_budget(self) -> bool:
        """Whether a call was rejected or ended because a budget is used up."""
        return any(call.result is not None and call.result.outcome is Outcome.BUDGET for call in self.calls)

    @property
    def awaiting_approval(self) -> list[ServerCall]:
        """The calls that run only if the user approves them."""
        return [call for call in self.calls if call.awaits_approval]

    def open(self, call_id: str, name: str) -> ServerCall:
        """Add a call whose name the model has written."""
        return self.add(ServerCall(call_id, name, self._tools.get(name)))

    def add(self, call: ServerCall) -> ServerCall:
        """Add a call."""
        self.calls.append(call)
        return call

    def start_eager(self) -> list[ServerCall]:
        """Start and return the complete read-only calls, except those that earlier calls may leave no budget for."""
        return [call for call in self.calls[: max(self._max_calls, 0)] if call.is_eager and self._start(call)]

    def start(self) -> list[ServerCall]:
        """Check every new call; start and return the valid ones. The others get their result."""
        return [call for call in self.calls if call.is_new and self._start(call)]

    def _start(self, call: ServerCall) -> bool:
        arguments = self._check(call)
        if isinstance(arguments, Result):
            self._reject(call, arguments)
        elif call.approved is False:
            self._answer(call, Result(Outcome.REFUSED, NOT_APPROVED))
        elif (first := self.made.repeated_by(call)) is not None:
            call.first = first
            self._audit.repeated(call)
        elif time.perf_counter() >= self._deadline:
            self._answer(call, rejection(Outcome.BUDGET, TIME_USED_UP))
        elif self.num_started >= self._max_calls:
            self._answer(call, rejection(Outcome.BUDGET, CALLS_USED_UP))
        elif self._needs_approval(call):
            self._answer(call, Result(Outcome.APPROVAL_REQUIRED, ""))
        elif call.tool is not None:
            self.made.add(call)
            call.task = asyncio.create_task(self._run(call, call.tool, arguments))
            # The task itself could not: one that is cancelled before its first step never runs.
            call.task.add_done_callback(partial(self._log_end, call, time.perf_counter()))
        return call.task is not None

    def _log_end(self, call: ServerCall, started: float, task: asyncio.Task[Result]) -> None:
        if task.cancelled():
            self._audit.cancelled(call, time.perf_counter() - started)
            return
        failed = Result(Outcome.ERROR, "", started, time.perf_counter())
        self._audit.ended(call, task.result() if task.exception() is None else failed)

    def _answer(self, call: ServerCall, result: Result) -> None:
        """Give a call its result that is not run."""
        call.result = result
        self._audit.ended(call, result)

    def _reject(self, call: ServerCall, result: Result) -> None:
        self._answer(call, result)
        self.made.add_rejected(call)

    def _needs_approval(self, call: ServerCall) -> bool:
        is_always = call.tool is not None and call.tool.spec.policy.approval == "always"
        return call.may_need_approval and (is_always or call.name not in self._allowed)

    def _check(self, call: ServerCall) -> Mapping[str, Any] | Result:
        checked = check(call.tool, call.name, call.arguments if call.complete else None)
        if not isinstance(checked, Result):
            return checked
        # The message quotes the schema and the arguments. It is redacted before it is cut: half a secret would not be found.
        return replace(checked, content=self._secrets.redact(checked.content)[:MAX_MESSAGE_CHARACTERS])

    async def _run(self, call: ServerCall, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        """Run a call, in a task of its own, until the deadline, which may pass while the model still decodes."""
        with spans.entered(spans.current().child(f"execute_tool {tool.spec.name}", _described(call, tool))) as span:
            result = await self._run_in_time(call, tool, arguments)
            span.set({"autotool.outcome": result.outcome, "autotool.attempts": result.attempts})
            if result.outcome is not Outcome.OK:
                span.fail(result.outcome)
            return result

    async def _run_in_time(self, call: ServerCall, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        started = time.perf_counter()

        async def work() -> Result:
            if not await self._audit.begun(call):
                return rejection(Outcome.NOT_LOGGED, UNWRITABLE)
            call.begun = True
            return await execute(tool, arguments, self._secrets)

        try:
            async with asyncio.timeout(self._deadline - started):
                return await self._limits.run(tool, work)
        except TimeoutError:
            cut = _cut(call, Outcome.BUDGET, TIME_USED_UP)
            return replace(cut, started=started, ended=time.perf_counter(), attempts=int(call.begun))

    def reject_invalid(self) -> bool:
        """Reject new calls of unknown tools and with invalid arguments. Return whether any call of the turn is invalid."""
        for call in self.calls:
            if call.is_new and isinstance(checked := self._check(call), Result):
                self._reject(call, checked)
        return any(call.result is not None and call.result.outcome in INVALID_OUTCOMES for call in self.calls)

    def failed_repeatably(self) -> bool:
        """Whether a call that ran has failed, and all calls may be made once more."""
        ended = [(call.tool, call.result) for call in self.calls if call.tool is not None and call.result is not None]
        repeatable = all(tool.spec.policy.idempotent or not result.may_have_taken_effect for tool, result in ended)
        return repeatable and any(result.outcome in FAILURE_OUTCOMES for _, result in ended)

    def finished(self) -> list[ServerCall]:
        """Return the calls that have ended since the last time."""
        for call in self.calls:
            call.settle()
        ended = [call for call in self.calls if call.result is not None and not (call.reported or call.awaits_approval)]
        for call in ended:
            call.reported = True
        return ended

    async def wait(self) -> AsyncGenerator[ServerCall]:
        """Yield every call as it ends. At the deadline those still running are cancelled."""
        while running := {task for call in self.calls if (task := call.awaited) is not None}:
            remaining = max(self._deadline - time.perf_counter(), 0)
            await asyncio.wait(running, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            for call in self.finished():
                yield call
            if time.perf_counter() >= self._deadline:
                await self.close(Outcome.BUDGET, TIME_USED_UP)
        for call in self.finished():
            yield call

    async def close(self, outcome: Outcome, reason: str) -> None:
        """Cancel running calls. Every call without a result gets this outcome, or UNKNOWN_TOOL if there is no such tool."""
        await self._cancel(outcome, reason)
        for call in self.calls:
            call.settle()
            if call.result is None:
                self._answer(call, self._left_open(call, outcome, reason))

    def _left_open(self, call: ServerCall, outcome: Outcome, reason: str) -> Result:
        """Return the result of a call that has not been started, or that waited for the same call of another request."""
        unknown = self._check(call) if call.tool is None else None
        if isinstance(unknown, Result):
            return unknown
        return rejection(outcome, reason) if call.first is None else _cut(call, outcome, reason)

    async def _cancel(self, outcome: Outcome, reason: str) -> None:
        """Cancel running calls, and wait for their end. Those that do not end have the result of a cancelled call too."""
        running = {call.task: call for call in self.calls if call.result is None and call.task and not call.task.done()}
        for task, call in running.items():
            call.if_cancelled = _cut(call, outcome, reason)
            # A second cancellation would interrupt the tool's clean-up.
            if task.cancelling() == 0:
                task.cancel()
        if running:
            _, hanging = await asyncio.wait(running, timeout=CANCEL_SECONDS)
            for call in (running[task] for task in hanging):
                logger.warning("tool %s still runs %g s after its call was cancelled", call.name, CANCEL_SECONDS)
                call.result = call.if_cancelled
                self._audit.still_running(call, CANCEL_SECONDS)


def _described(call: ServerCall, tool: Tool) -> Attributes:
    """Return what the span of a call says of it, by OpenTelemetry's conventions."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.spec.name,
        "gen_ai.tool.call.id": call.id,
        "gen_ai.tool.type": "extension",
    }


def _cut(call: ServerCall, outcome: Outcome, reason: str) -> Result:
    """Return the result of a call that was cancelled. A tool that changes nothing might as well not have run."""
    is_harmless = call.tool is not None and call.tool.spec.policy.read_only
    has_run = call.begun or (call.first is not None and call.first.begun)
    return rejection(outcome, reason) if is_harmless or not has_run else interruption(outcome, reason)
