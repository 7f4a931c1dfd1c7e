"""Errors over HTTP: OpenAI's shape, the field's name, never the value."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from autotool_core.errors import AutoToolError, EngineError, InvalidRequestError

logger = logging.getLogger(__name__)

INTERNAL = "The server failed on this request; its log says how."


class OverloadedError(AutoToolError):
    """More requests than are served at once, or a server that is not ready yet."""


class UnauthorizedError(AutoToolError):
    """No API key, or a wrong one."""


def error_body(message: str, kind: str, field: str | None = None, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": field, "code": code}}


def describe(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers that answer an error."""
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
    """The first thing wrong with a body, by path and kind."""
    found = error.errors(include_input=False, include_url=False)
    # Of the alternatives of a union, the one that went furthest is the one that was meant.
    first = max((one for one in found if one["loc"][:3] == found[0]["loc"][:3]), key=lambda one: len(one["loc"]))
    field = _path(first["loc"], body, missing=first["type"] == "missing")
    if first["type"] == "extra_forbidden":
        return InvalidRequestError(
            f"{field} is not a field that this server supports. Leave it out.", field, code="unsupported_field"
        )
    if discriminator := first.get("ctx", {}).get("discriminator"):
        return _unknown_kind(f"{field}.{discriminator[1:-1]}", first.get("ctx", {}).get("expected_tags"))
    return InvalidRequestError(f"{field or 'body'}: {first['msg']}.", field or None)


def _unknown_kind(field: str, known: str | None) -> InvalidRequestError:
    """The error of a `role` or `type` that is missing, or none of those there are."""
    return InvalidRequestError(f"{field} is missing." if known is None else f"{field} must be one of {known}.", field)


def _path(location: tuple[int | str, ...], body: Any, *, missing: bool) -> str:
    """The dotted path of a field; pydantic puts the names of the alternatives it tried in between."""
    path: list[str] = []
    for at, part in enumerate(location):
        last = at == len(location) - 1
        inside: Any = None
        if isinstance(body, dict) or (isinstance(body, list) and isinstance(part, int)):
            parts: dict[Any, Any] = dict(enumerate(body)) if isinstance(body, list) else body
            inside = parts.get(part)
        if inside is not None or (last and missing):
            path.append(str(part)[:64])
            body = inside
    return ".".join(path[:12])


async def _answer(_: Request, error: Exception) -> JSONResponse:
    status, body, headers = describe(error)
    if status >= 500 and not isinstance(error, OverloadedError):
        logger.error("request failed: %s", error, exc_info=error if status == 500 else None)
    return JSONResponse(body, status, headers)


def install(app: FastAPI) -> None:
    """Answer every error of the app in OpenAI's shape."""
    for kind in (AutoToolError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)
