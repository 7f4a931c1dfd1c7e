"""One call of a server tool: arguments checked, run under a time-out, every failure made a result that the model reads."""

import asyncio
import json
import logging
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match
from jsonschema.validators import extend, validator_for
from referencing import Registry as References
from referencing.exceptions import Unresolvable

from autotool_core.calls import Call
from autotool_server.tools.base import OversizeError, Tool, ToolError, TransientError
from autotool_server.tools.secrets import Secrets

logger = logging.getLogger(__name__)

MAX_MESSAGE = 500
"""Longest complaint about a call, in characters: a schema's quotes the value it is about."""
FIRST_PAUSE = 0.1
"""Seconds before the first retry; each further one waits twice as long."""


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


MISTAKES = {Outcome.INVALID_ARGUMENTS, Outcome.UNKNOWN_TOOL}
"""What is the model's fault, and known before anything runs."""
FAILURES = {Outcome.ERROR, Outcome.TIMEOUT, Outcome.OVERSIZE}
"""What went wrong while a tool ran."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the model reads, and how it came about."""

    outcome: Outcome
    content: str
    started: float = 0.0
    """As `time.perf_counter`, seconds; 0 where nothing ran."""
    ended: float = 0.0
    attempts: int = 0
    may_be_done: bool = False
    """Whether the tool may have done its work, whatever became of the answer: then another call could do it twice."""


def refusal(outcome: Outcome, message: str) -> Result:
    """The result of a call that was not run."""
    return Result(outcome, f"Error: {message}")


def check(tool: Tool | None, name: str, arguments: str | None) -> Mapping[str, Any] | Result:
    """The arguments of a call, if it may run; else the result that says why not.

    `arguments` is the JSON text that the model wrote; None where it broke off.
    """
    if tool is None:
        return refusal(Outcome.UNKNOWN_TOOL, f"There is no tool {name[:64]!r}.")
    if tool.spec.disabled is not None:
        return refusal(Outcome.DISABLED, f"This tool is disabled: {tool.spec.disabled}")
    read = _read(name, arguments)
    if isinstance(read, str):
        return refusal(Outcome.INVALID_ARGUMENTS, read)
    try:
        wrong = _mismatch(tool.spec.parameters, read)
    except Unresolvable:
        return refusal(Outcome.ERROR, "The tool's schema refers to another document, which is not fetched.")
    return refusal(Outcome.INVALID_ARGUMENTS, wrong) if wrong else read


def _read(name: str, arguments: str | None) -> Mapping[str, Any] | str:
    """The arguments, or what is wrong with their text."""
    if arguments is None:
        return "The call broke off before it was complete. Write it again."
    try:
        read = Call.parse(name, arguments).arguments
        # Half of a surrogate pair can be written in JSON, but no tool can be sent it.
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "The arguments hold half of a surrogate pair, which is no character."
    except (ValueError, RecursionError):
        return "The arguments are not a JSON object. Write the call again."
    return read


def _mismatch(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with arguments; None where they fit."""
    dialect = validator_for(schema, default=jsonschema.Draft202012Validator)
    # Without references of its own, jsonschema would fetch those to other documents from the network.
    validator = extend(dialect, {"pattern": _pattern})(schema, registry=References())
    try:
        error = best_match(validator.iter_errors(arguments))
    except re.error:
        return "The arguments cannot be checked: a name of patternProperties is no regular expression of Python's."
    except (ArithmeticError, RecursionError, ValueError):
        return "The arguments cannot be checked: they are nested too deeply, or a number is too large."
    if error is None:
        return None
    where = ".".join(map(str, error.absolute_path)) or "arguments"
    return f"{where}: {error.message}"


def _pattern(_: Any, pattern: str, text: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """The keyword `pattern`, but for the few regular expressions of ECMA-262 that Python cannot read: those the tool checks."""
    try:
        fits = not isinstance(text, str) or re.search(pattern, text)
    except re.error:
        return
    if not fits:
        yield jsonschema.ValidationError(f"{text!r} does not match {pattern!r}")


async def execute(tool: Tool, arguments: Mapping[str, Any], secrets: Secrets) -> Result:
    """Run a call whose arguments fit. Never raises but for its own cancellation, which ends the call."""
    started = time.perf_counter()
    attempts = [0]
    may_be_done = True
    limit = asyncio.timeout(tool.spec.policy.timeout)
    try:
        async with limit:
            outcome, content = Outcome.OK, await _attempts(tool, arguments, attempts, secrets)
    except OversizeError as error:
        outcome, content = Outcome.OVERSIZE, f"Error: {error}"
    except ToolError as error:
        # A tool that says what was wrong has not done it; one that lost its service, or raised anything else, may have.
        may_be_done = isinstance(error, TransientError)
        # Before it is cut: half a secret would not be found.
        outcome, content = Outcome.ERROR, f"Error: {_cut(secrets.redact(str(error)), tool.spec.policy.max_result_bytes)}"
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        trace = "".join(traceback.format_exception(error))
        logger.warning("tool %s failed: %s", tool.spec.name, secrets.redact(trace))
        outcome, content = Outcome.ERROR, "Error: The tool failed."
    if limit.expired() and outcome is not Outcome.OK:
        outcome, content = Outcome.TIMEOUT, f"Error: The tool did not answer within {tool.spec.policy.timeout:g} seconds."
    return Result(outcome, secrets.redact(content), started, time.perf_counter(), attempts[0], may_be_done)


def _is_cancelled() -> bool:
    """Whether somebody ends this call, and it is not the tool that says it was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _attempts(tool: Tool, arguments: Mapping[str, Any], attempts: list[int], secrets: Secrets) -> str:
    """The first result of as many attempts as the tool's policy allows."""
    policy = tool.spec.policy
    most = 1 + policy.retries if policy.idempotent else 1
    while True:
        attempts[0] += 1
        try:
            return _text(await tool.call(arguments), policy.max_result_bytes)
        except Exception as error:
            final = isinstance(error, ToolError) and not isinstance(error, TransientError)
            # A tool that makes an error of its cancellation is not begun again: nobody waits for it any more.
            if final or attempts[0] == most or _is_cancelled():
                raise
            logger.info("tool %s is tried again after %s", tool.spec.name, type(error).__name__)
        await asyncio.sleep(FIRST_PAUSE * 2 ** (attempts[0] - 1))


def _cut(text: str, limit: int) -> str:
    return text.encode(errors="replace")[:limit].decode(errors="ignore")


def _text(result: str | bytes, limit: int) -> str:
    """A result as text that can be sent: UTF-8, no half characters."""
    raw = result.encode(errors="replace") if isinstance(result, str) else result
    if len(raw) > limit:
        raise OversizeError(limit)
    return raw.decode(errors="replace")
