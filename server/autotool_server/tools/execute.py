"""One call of a server tool: its arguments are checked, it runs under a time-out, and a failure becomes a result."""

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Mapping
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match
from jsonschema.validators import extend, validator_for
from referencing import Registry as References
from referencing.exceptions import Unresolvable

from autotool_core.calls import Call
from autotool_server.tools import patterns
from autotool_server.tools.base import OversizeError, Tool, ToolError, TransientError
from autotool_server.tools.results import ERROR, Outcome, Result, rejection
from autotool_server.tools.secrets import Secrets

logger = logging.getLogger(__name__)

MAX_MESSAGE_CHARACTERS = 500
"""The longest message about invalid arguments. Such a message quotes the value, which may be long."""
RETRY_SECONDS = 0.1
"""Seconds before the first retry. Each further retry waits twice as long."""


def check(tool: Tool | None, name: str, arguments: str | None) -> Mapping[str, Any] | Result:
    """Return the arguments of a call that may run, else a result with the reason why it may not.

    `arguments`: the JSON text that the model wrote; None if the call is incomplete.
    """
    if tool is None:
        return rejection(Outcome.UNKNOWN_TOOL, f"There is no tool {name[:64]!r}.")
    if tool.spec.disabled is not None:
        return rejection(Outcome.DISABLED, f"This tool is disabled: {tool.spec.disabled}")
    parsed = _parse_arguments(name, arguments)
    if isinstance(parsed, str):
        return rejection(Outcome.INVALID_ARGUMENTS, parsed)
    try:
        error = schema_error(tool.spec.parameters, parsed)
    except Unresolvable:
        return rejection(Outcome.ERROR, "The tool's schema refers to another document, which is not fetched.")
    return rejection(Outcome.INVALID_ARGUMENTS, error) if error else parsed


def _parse_arguments(name: str, arguments: str | None) -> Mapping[str, Any] | str:
    """Return the arguments, or a message if their text is invalid."""
    if arguments is None:
        return "The call broke off before it was complete. Write it again."
    try:
        parsed = Call.parse(name, arguments).arguments
        # JSON can express half of a surrogate pair, but UTF-8 cannot.
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "The arguments hold half of a surrogate pair, which is no character."
    except (ValueError, RecursionError):
        return "The arguments are not a JSON object. Write the call again."
    return parsed


def schema_error(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Return a message about arguments that do not match the schema; None if they match. Raises Unresolvable."""
    dialect = validator_for(schema, default=jsonschema.Draft202012Validator)
    # Without an explicit registry, jsonschema would fetch referenced documents from the network.
    validator = extend(dialect, patterns.KEYWORDS)(schema, registry=References())
    try:
        error = best_match(validator.iter_errors(arguments))
    except patterns.UNREADABLE:
        return "The arguments cannot be checked: a name of patternProperties is no regular expression that is read here."
    except TimeoutError:
        return "The arguments cannot be checked: a regular expression of the tool's schema takes too long on them."
    except (ArithmeticError, RecursionError, ValueError):
        return "The arguments cannot be checked: they are nested too deeply, or a number is too large."
    if error is None:
        return None
    path = ".".join(map(str, error.absolute_path)) or "arguments"
    return f"{path}: {error.message}"


async def execute(tool: Tool, arguments: Mapping[str, Any], secrets: Secrets) -> Result:
    """Run a call with valid arguments. Raises nothing but CancelledError, if the call itself is cancelled."""
    started = time.perf_counter()
    attempts = [0]
    may_have_taken_effect, reached = True, None
    timeout = asyncio.timeout(tool.spec.policy.timeout)
    try:
        async with timeout:
            outcome, content = Outcome.OK, await _call_with_retries(tool, arguments, attempts, secrets)
        reached = True
    except OversizeError as error:
        reached, outcome, content = True, Outcome.OVERSIZE, str(error)
    except ToolError as error:
        # A tool that reports an error has had no effect. One that lost its service, or raised anything else, may have had one.
        may_have_taken_effect = isinstance(error, TransientError)
        reached = not may_have_taken_effect
        # Redacted before it is cut: half a secret would not be found.
        outcome, content = Outcome.ERROR, _truncate(secrets.redact(str(error)), tool.spec.policy.max_result_bytes)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        if timeout.expired():
            logger.warning("tool %s did not answer within %g seconds", tool.spec.name, tool.spec.policy.timeout)
        else:
            trace = "".join(traceback.format_exception(error))
            logger.warning("tool %s failed: %s", tool.spec.name, secrets.redact(trace))
        outcome, content = Outcome.ERROR, "The tool failed."
    if timeout.expired() and outcome is not Outcome.OK:
        outcome, content = Outcome.TIMEOUT, f"The tool did not answer within {tool.spec.policy.timeout:g} seconds."
        reached = False
    content = content if outcome is Outcome.OK else f"{ERROR}{content}"
    ended = time.perf_counter()
    return Result(outcome, secrets.redact(content), started, ended, attempts[0], may_have_taken_effect, reached)


def _is_cancelled() -> bool:
    """Return whether this call is cancelled from outside. A tool may raise CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _call_with_retries(tool: Tool, arguments: Mapping[str, Any], attempts: list[int], secrets: Secrets) -> str:
    """Call the tool until it succeeds or its policy allows no further attempt. `attempts[0]` counts the attempts."""
    policy = tool.spec.policy
    max_attempts = 1 + policy.retries if policy.idempotent else 1
    while True:
        attempts[0] += 1
        try:
            return _to_text(await tool.call(arguments), policy.max_result_bytes)
        except Exception as error:
            is_permanent = isinstance(error, ToolError) and not isinstance(error, TransientError)
            # A tool that turns its cancellation into an error is not retried: nobody waits for the result.
            if is_permanent or attempts[0] == max_attempts or _is_cancelled():
                raise
            logger.info("tool %s is retried after %s", tool.spec.name, type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS * 2 ** (attempts[0] - 1))


def _truncate(text: str, limit: int) -> str:
    return text.encode(errors="replace")[:limit].decode(errors="ignore")


def _to_text(result: str | bytes, limit: int) -> str:
    """Return a result as text that UTF-8 can encode. Raises OversizeError above the limit, in bytes."""
    raw = result.encode(errors="replace") if isinstance(result, str) else result
    if len(raw) > limit:
        raise OversizeError(limit)
    return raw.decode(errors="replace")
