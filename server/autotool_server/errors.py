"""Errors over HTTP: they name the field and never repeat its value. OpenAI's shape is the default."""

import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from autotool_core.errors import AutoToolError, EngineError, InvalidRequestError

logger = logging.getLogger(__name__)

INTERNAL = "The server failed on this request; its log says how."


class OverloadedError(AutoToolError):
    """The server has as many requests as it may serve at once, or is not ready yet."""


class UnauthorizedError(AutoToolError):
    """The request has no API key, or a wrong one."""


def error_body(message: str, kind: str, field: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": field, "code": code}}


Description = tuple[int, dict[str, Any], dict[str, str]]
"""Status, body and headers of the response to an error."""


def describe(error: Exception) -> Description:
    """Return the response to an error in OpenAI's shape."""
    match error:
        case InvalidRequestError():
            return error.status, error_body(str(error), "invalid_request_error", error.field, error.code), {}
        case UnauthorizedError():
            return 401, error_body(str(error), "authentication_error", None, "invalid_api_key"), {"WWW-Authenticate": "Bearer"}
        case OverloadedError():
            return 503, error_body(str(error), "server_error", None, "overloaded"), {"Retry-After": "1"}
        case EngineError():
            return 503, error_body(str(error), "server_error", None, "engine_error"), {"Retry-After": "5"}
        case HTTPException():
            return error.status_code, error_body(str(error.detail), "invalid_request_error"), dict(error.headers or {})
        case _:
            return 500, error_body(INTERNAL, "server_error", None, "internal_error"), {}


def invalid_body(error: ValidationError, body: Any) -> InvalidRequestError:
    """Return the error of a body: its first fault, by path and kind."""
    faults = error.errors(include_input=False, include_url=False)
    # Of a union's alternatives, the one that validated furthest is the one that the client intended.
    first = max((fault for fault in faults if fault["loc"][:3] == faults[0]["loc"][:3]), key=lambda fault: len(fault["loc"]))
    field = _path(first["loc"], body, missing=first["type"] == "missing")
    if first["type"] == "extra_forbidden":
        return InvalidRequestError(
            f"{field} is not a field that this server supports. Leave it out.", field, code="unsupported_field"
        )
    if discriminator := first.get("ctx", {}).get("discriminator"):
        return _unknown_kind(f"{field}.{discriminator[1:-1]}", first.get("ctx", {}).get("expected_tags"))
    return InvalidRequestError(f"{field or 'body'}: {first['msg']}.", field or None)


def _unknown_kind(field: str, known: str | None) -> InvalidRequestError:
    """Return the error of a `role` or `type` that is missing or unknown."""
    return InvalidRequestError(f"{field} is missing." if known is None else f"{field} must be one of {known}.", field)


def _path(location: tuple[int | str, ...], body: Any, *, missing: bool) -> str:
    """Return the dotted path of a field, without the names of union alternatives that pydantic puts in between."""
    path: list[str] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        inside: Any = None
        if isinstance(body, dict) or (isinstance(body, list) and isinstance(part, int)):
            parts: dict[Any, Any] = dict(enumerate(body)) if isinstance(body, list) else body
            inside = parts.get(part)
        if inside is not None or (last and missing):
            path.append(str(part)[:64])
            body = inside
    return ".".join(path[:12])


def response(error: Exception, describe_error: Callable[[Exception], Description] = describe) -> JSONResponse:
    """Return the response to an error, and log it if the server is at fault. `describe_error` gives a protocol's shape."""
    status, body, headers = describe_error(error)
    if status >= 500 and not isinstance(error, OverloadedError):
        logger.error("request failed: %s", error, exc_info=error if status == 500 else None)
    return JSONResponse(body, status, headers)


async def _handle(_: Request, error: Exception) -> JSONResponse:
    return response(error)


def install(app: FastAPI) -> None:
    """Answer every error of the app in OpenAI's shape."""
    for kind in (AutoToolError, HTTPException, Exception):
        app.add_exception_handler(kind, _handle)
