"""The result of a call, and its texts: how the model reads, and a later request finds in the messages, what became of it."""

from dataclasses import dataclass
from enum import StrEnum

ALREADY_DONE = "Already done: this call was made before with the same arguments, and is not made again. Its result:\n"
"""The beginning of a repeated call's result."""
ERROR = "Error: "
"""The beginning of a result that tells what went wrong."""
NOT_RUN = f"{ERROR}Not run: "
"""The beginning of the result of a call that was not run."""
BROKEN_OFF = f"{ERROR}Broken off, and may have taken effect: "
"""The beginning of the result of a call that was cancelled while it ran."""
NOT_APPROVED = "The user did not approve this call."


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    OVERSIZE = "oversize"
    INVALID_ARGUMENTS = "invalid_arguments"
    UNKNOWN_TOOL = "unknown_tool"
    DISABLED = "disabled"
    BUDGET = "budget"
    NOT_RUN = "not_run"
    REPEATED = "repeated"
    REFUSED = "refused"
    APPROVAL_REQUIRED = "approval_required"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    NOT_LOGGED = "not_logged"


INVALID_OUTCOMES = {Outcome.INVALID_ARGUMENTS, Outcome.UNKNOWN_TOOL}
"""Outcomes of calls that the model wrote wrongly, known before a tool runs."""
FAILURE_OUTCOMES = {Outcome.ERROR, Outcome.TIMEOUT, Outcome.OVERSIZE}
"""Outcomes of calls that failed while the tool ran."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the model reads of a call, and how the call went."""

    outcome: Outcome
    content: str
    started: float = 0.0
    """Seconds of `time.perf_counter`; 0 for a call that was not run."""
    ended: float = 0.0
    attempts: int = 0
    may_have_taken_effect: bool = False
    """Whether the tool may have done its work although the call failed. A second call could then do it twice."""
    reached: bool | None = None
    """Whether the tool has answered, be it with an error; False if it or its service failed, None where that is not known."""


def rejection(outcome: Outcome, message: str) -> Result:
    """Return the result of a call that is not run."""
    return Result(outcome, f"{NOT_RUN}{message}")


def interruption(outcome: Outcome, message: str) -> Result:
    """Return the result of a call that was cancelled while it ran."""
    return Result(outcome, f"{BROKEN_OFF}{message}", may_have_taken_effect=True)


def repeated(first: Result) -> Result:
    """Return the result of a call that is answered from that of the same call before it."""
    is_done = not first.content.startswith((NOT_RUN, BROKEN_OFF))
    return Result(Outcome.REPEATED, f"{ALREADY_DONE}{first.content}" if is_done else first.content)


def has_run(content: str) -> bool:
    """Whether a call with this result was run, to its end or not."""
    return content != NOT_APPROVED and not content.startswith(NOT_RUN)


def has_succeeded(content: str) -> bool:
    """Whether a call with this result was run without an error."""
    return has_run(content) and not content.startswith(ERROR)
