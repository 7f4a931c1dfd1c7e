"""Errors in Anthropic's shape.

Statuses and types: https://platform.claude.com/docs/en/api/errors.
"""

import uuid
from typing import Any, Literal

from pydantic import BaseModel

from autotool_core.errors import EngineError, InvalidRequestError
from autotool_server import errors
from autotool_server.api.messages.schemas import NO_THREADS
from autotool_server.errors import Description, OverloadedError, UnauthorizedError

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
"""The type of an error by its status; others are `invalid_request_error`, or `api_error` where the server is at fault."""
OVERLOADED = 529


class ErrorDetail(BaseModel):
    """What is wrong."""

    type: str
    message: str


class ErrorAnswer(BaseModel):
    """An error in Anthropic's shape."""

    type: Literal["error"]
    error: ErrorDetail
    request_id: str


def describe(error: Exception) -> Description:
    """Return the response to an error."""
    status, body, headers = errors.describe(error)
    message = body["error"]["message"]
    match error:
        case OverloadedError():
            return _response(OVERLOADED, "overloaded_error", message, headers)
        case EngineError():
            return _response(500, "api_error", message, headers)
        case UnauthorizedError():
            message = "Send the API key of this server: `x-api-key: KEY` or `Authorization: Bearer KEY`."
        case InvalidRequestError():
            message = _naming_field(error)
        case _:
            pass
    kind = TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return _response(status, kind, message, headers, **_details(error))


def _naming_field(error: InvalidRequestError) -> str:
    """Return the message of an error with the path of its field, for which Anthropic's errors have no place of their own."""
    message = str(error)
    if error.code == "context_length_exceeded":
        # Claude Code and others look for these words before they shorten the conversation.
        message = f"Prompt is too long: {message}"
    return message if error.field is None or error.field in message else f"{error.field}: {message}"


def _details(error: Exception) -> dict[str, Any]:
    """Return the details of an error which the official clients answer with another request."""
    is_known = isinstance(error, InvalidRequestError) and error.code == NO_THREADS
    return {"details": {"error_code": NO_THREADS}} if is_known else {}


def _response(status: int, kind: str, message: str, headers: dict[str, str], **details: Any) -> Description:
    request_id = f"req_{uuid.uuid4().hex[:24]}"
    body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": request_id}
    return status, body, {**headers, "request-id": request_id}
