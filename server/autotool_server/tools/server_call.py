"""One call of a server tool that the model has written."""

import asyncio
from dataclasses import dataclass

from autotool_core.record import ToolExecution
from autotool_server.tools.base import Policy, Tool
from autotool_server.tools.results import Outcome, Result, interruption, rejection, repeated

INTERRUPTED = interruption(Outcome.NOT_RUN, "The request ended.")


@dataclass(slots=True)
class ServerCall:
    """A call of a server tool, or of a tool that does not exist."""

    id: str
    name: str
    tool: Tool | None
    arguments: str = ""
    complete: bool = False
    approved: bool | None = None
    """What the user has decided about the call; None where nobody has been asked."""
    task: asyncio.Task[Result] | None = None
    first: "ServerCall | None" = None
    """The same call before this one, whose result answers this one too."""
    result: Result | None = None
    if_cancelled: Result = INTERRUPTED
    """What the result is where the task is cancelled."""
    begun: bool = False
    """Whether the tool may have been called: a call that waits for its place has not."""
    reported: bool = False
    """Whether `TurnCalls.finished` has returned the call."""
    is_logged: bool = False
    """Whether the audit log says how the call has ended."""

    @property
    def is_new(self) -> bool:
        """Whether the call has been neither started, nor answered, nor rejected."""
        return self.task is None and self.first is None and self.result is None

    @property
    def awaited(self) -> asyncio.Task[Result] | None:
        """The task that brings the result, of this call or of the same one before it; None if there is none any more."""
        call = self.first or self
        is_open = self.result is None and call.result is None and call.task is not None and not call.task.cancelled()
        return call.task if is_open else None

    @property
    def awaits_approval(self) -> bool:
        """Whether the call runs only if the user approves it."""
        return self.result is not None and self.result.outcome is Outcome.APPROVAL_REQUIRED

    @property
    def content(self) -> str:
        """The result as the model reads it."""
        return self.result.content if self.result is not None else ""

    @property
    def is_eager(self) -> bool:
        """Whether the call may start before its turn has ended."""
        policy = self.tool.spec.policy if self.tool is not None else Policy()
        return self.is_new and self.complete and policy.read_only and not self.may_need_approval

    @property
    def may_need_approval(self) -> bool:
        """Whether the user may have to be asked before the call runs."""
        return self.tool is not None and self.tool.spec.policy.approval != "never" and self.approved is None

    def settle(self) -> None:
        """Take the result of the task, or of the same call before, if that has ended."""
        if self.result is None and self.task is not None and self.task.done():
            self.result = self.if_cancelled if self.task.cancelled() else self.task.result()
        if self.result is None and self.first is not None:
            self.first.settle()
            self.result = repeated(self.first.result) if self.first.result is not None else None

    def execution(self, decoded_until: float | None) -> ToolExecution:
        """Return the call's part of the record; `decoded_until`: when the turn's decoding ended, as `time.perf_counter`."""
        result = self.result or rejection(Outcome.NOT_RUN, "")
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
