"""Convert error messages of vLLM: shorten them and remove the contents of the request."""

import re

from pydantic import ValidationError

from autotool_core.errors import EngineError, InvalidRequestError

MAX_CHARACTERS = 500

_TOKEN_LIST = re.compile(r" \[[\d, -]*\](?= in )")


def request_error(message: str, field: str | None) -> InvalidRequestError:
    """Return the error of a rejected request, with vLLM's message cut before the value and without lists of token ids."""
    reason = message.partition(", got")[0].partition(" (parameter=")[0].rstrip(".")
    return InvalidRequestError(f"The engine refused the request: {shorten(_TOKEN_LIST.sub('', reason))}.", field)


def start_error(cause: str | None, error: Exception) -> EngineError:
    """Return the error of an engine that did not start. `cause`: what its processes said; None if they said nothing."""
    if cause is None:
        cause = error.errors()[0]["msg"].removeprefix("Value error, ") if isinstance(error, ValidationError) else str(error)
    return EngineError(f"vLLM did not start: {shorten(cause.strip().rstrip('.'))}. `--log-level info` shows the whole log.")


def shorten(message: str) -> str:
    """Cut a server's message to the length of an error's text. Some messages contain a whole traceback."""
    return message if len(message) <= MAX_CHARACTERS else f"{message[:MAX_CHARACTERS]}…"
