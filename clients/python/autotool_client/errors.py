"""Texts of failed calls for people."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import openai

from autotool_core.errors import AutoToolError

BUSY_STATUSES = (429, 502, 503)
"""Statuses that say nothing about the request: the server has no room, or is not there behind its proxy."""
MALFORMED_BODY = (AttributeError, LookupError, TypeError, ValueError)
"""Errors raised by reading a body of another shape than OpenAI's, which the official client does not check."""
PERMANENT_ERRORS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
"""Errors that every further request would meet too."""


@contextmanager
def expecting_openai(base_url: object) -> Iterator[None]:
    """Raise AutoToolError if a body that is read meanwhile has another shape than OpenAI's, such as that of a web page."""
    try:
        yield
    except MALFORMED_BODY as error:
        raise AutoToolError(f"{base_url} does not speak OpenAI's API: name the URL that ends in /v1.") from error


class UnreachableError(AutoToolError):
    """The server does not answer, or answers again and again that it is busy: its log may say why."""


def user_message(error: openai.OpenAIError) -> str:
    """Return one sentence about an error of the official client: what failed and, if that is known, how to fix it."""
    match error:
        case openai.APITimeoutError():
            return f"{error.request.url} did not answer in time."
        case openai.APIConnectionError():
            return f"Cannot reach {error.request.url}: is the server running? `autotool serve` starts one."
        case openai.APIStatusError():
            return _server_message(error) or f"{error.request.url} answered {error.status_code}; a base URL ends in /v1."
        case _:
            return str(error)


def _server_message(error: openai.APIStatusError) -> str | None:
    """Return the message of an error in OpenAI's shape, whose envelope the client has already removed."""
    if not isinstance(error.body, Mapping):
        return None
    message = cast("Mapping[str, Any]", error.body).get("message")
    return message if isinstance(message, str) else None
