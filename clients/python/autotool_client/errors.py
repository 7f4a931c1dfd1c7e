"""What a failed call says to a person."""

from collections.abc import Mapping
from typing import Any, cast

import openai

BUSY_STATUSES = (429, 502, 503)
"""Statuses that say nothing about the request: the server has no room, or is not there behind its proxy."""
MALFORMED_BODY = (AttributeError, LookupError, TypeError, ValueError)
"""Errors raised by reading a body of another shape than OpenAI's, which the official client does not check."""
PERMANENT_ERRORS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
"""Errors that every further request would meet too."""


def sentence(error: openai.OpenAIError) -> str:
    """One sentence for an error of the official client: what failed and, where that is known, how to mend it."""
    match error:
        case openai.APITimeoutError():
            return f"{error.request.url} did not answer in time."
        case openai.APIConnectionError():
            return f"Cannot reach {error.request.url}: is the server running? `autotool serve` starts one."
        case openai.APIStatusError():
            return _said_by_server(error) or f"{error.request.url} answered {error.status_code}; a base URL ends in /v1."
        case _:
            return str(error)


def _said_by_server(error: openai.APIStatusError) -> str | None:
    """The message of an error in OpenAI's shape, which the client has already taken out of its envelope."""
    if not isinstance(error.body, Mapping):
        return None
    message = cast("Mapping[str, Any]", error.body).get("message")
    return message if isinstance(message, str) else None
