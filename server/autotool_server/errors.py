"""Errors over HTTP: they name the field and never repeat its value. OpenAI's shape is the default."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import Counter
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from autotool_core.errors import AutoToolError, EngineError, InvalidRequestError, UpstreamError
from autotool_server.request_id import REQUEST_ID

logger = logging.getLogger(__name__)

UNSUPPORTED = "unsupported_field"
"""The code of a field that this server does not support, and pydantic's type of a fault that says so."""

TIMEOUT = 408
"""Status of a request that comes too slowly, the rest of which is not waited for."""

INTERNAL = "The server failed on this request; its log says how."


REFUSED = Counter(
    "autotool_requests_refused",
    "Requests that were refused because the server had too much to do or was not ready, by the reason",
    ("reason",),
)


class OverloadedError(AutoToolError):
    """The server has as many requests as it may serve at once, or is not ready.

    `reason`: a word for what there was too much of, or what was missing, by which `response` counts refusals. `retry_after`:
    in seconds.
    """

    def __init__(self, message: str, reason: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class RateLimitedError(AutoToolError):
    """The client's key has used up what it may use for now."""

    def __init__(self, message: str, kind: str, code: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.headers = headers


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
            headers = {"Connection": "close"} if error.status == TIMEOUT else {}
            return error.status, error_body(str(error), "invalid_request_error", error.field, error.code), headers
        case UnauthorizedError():
            return 401, error_body(str(error), "authentication_error", None, "invalid_api_key"), {"WWW-Authenticate": "Bearer"}
        case RateLimitedError():
            return 429, error_body(str(error), error.kind, None, error.code), dict(error.headers)
        case OverloadedError() | EngineError():
            status, code, headers = _unavailable(error)
            return status, error_body(str(error), "server_error", None, code), headers
        case HTTPException():
            return error.status_code, error_body(str(error.detail), "invalid_request_error"), dict(error.headers or {})
        case _:
            return 500, error_body(INTERNAL, "server_error", None, "internal_error"), {}


def _unavailable(error: OverloadedError | EngineError) -> tuple[int, str, dict[str, str]]:
    """Return the status, code and headers of an error that is not the client's."""
    if isinstance(error, UpstreamError):
        return 502, "engine_error", {}
    code, wait = ("overloaded", error.retry_after) if isinstance(error, OverloadedError) else ("engine_error", 5)
    return 503, code, {"Retry-After": str(wait)}


def invalid_body(error: ValidationError, body: Any) -> InvalidRequestError:
    """Return the error of a body: its first fault, by path and kind."""
    first = faults(error, body)[0]
    found = location(first["loc"], body, missing=first["type"] == "missing")
    field = ".".join(str(part)[:64] for part in found[:12])
    if first["type"] == UNSUPPORTED:
        return InvalidRequestError(f"{field} is not supported: {first.get('ctx', {})['reason']}", field, code=UNSUPPORTED)
    if first["type"] == "extra_forbidden":
        return InvalidRequestError(f"{field} is not a field that this server supports. Leave it out.", field, code=UNSUPPORTED)
    if discriminator := first.get("ctx", {}).get("discriminator"):
        return _unknown_kind(f"{field}.{discriminator[1:-1]}", first.get("ctx", {}).get("expected_tags"))
    if first["type"] == "missing":
        return InvalidRequestError(f"{field} is missing.", field)
    return InvalidRequestError(f"{field or 'body'}: {first['msg'].removeprefix('Value error, ')}.", field or None)


def faults(error: ValidationError, body: Any) -> list[ErrorDetails]:
    """Return the faults of a body; of the alternatives of a union only those of the one that the client intended."""
    return _intended(error.errors(include_input=False, include_url=False), body, 0)


def _intended(found: Sequence[ErrorDetails], body: Any, depth: int, *, may_be_tag: bool = True) -> list[ErrorDetails]:
    """Return the intended ones of faults whose locations agree in their first `depth` parts, which lead to `body`."""
    kept = [fault for fault in found if len(fault["loc"]) == depth]
    groups: dict[int | str, list[ErrorDetails]] = {}
    for fault in found:
        if len(fault["loc"]) > depth:
            groups.setdefault(fault["loc"][depth], []).append(fault)
    alternatives: list[list[ErrorDetails]] = []
    for part, group in groups.items():
        is_tag = may_be_tag and len(groups) == 1 and _is_tag(part, body)
        inner = _inside(body, part)
        if is_tag or (inner is None and not _is_missing(group, depth)):
            alternatives.append(_intended(group, body, depth + 1, may_be_tag=not is_tag))
        else:
            kept += _intended(group, inner, depth + 1)
    return [*kept, *max(alternatives, key=_closeness, default=[])]


def _is_missing(group: Sequence[ErrorDetails], depth: int) -> bool:
    return len(group[0]["loc"]) == depth + 1 and group[0]["type"] == "missing"


def _closeness(group: Sequence[ErrorDetails]) -> tuple[int, bool]:
    """Return how well an alternative fits: how far it validated, and whether it knew the kind of value."""
    return max((len(fault["loc"]), fault["type"].startswith("union_tag")) for fault in group)


def _unknown_kind(field: str, known: str | None) -> InvalidRequestError:
    """Return the error of a `role` or `type` that is missing or unknown."""
    return InvalidRequestError(f"{field} is missing." if known is None else f"{field} must be one of {known}.", field)


def location(parts: tuple[int | str, ...], body: Any, *, missing: bool = False) -> tuple[int | str, ...]:
    """Return the keys and indices of a field in the body, without the names of union alternatives that pydantic puts between.

    `missing`: the last part is the name of a field that is not in the body.
    """
    # A tag such as `function` may also be the name of a field inside: the reading that finds the last part is right, and of
    # two such the one that takes the tag for a tag.
    readings = _readings(parts, body, missing=missing)
    return next((path for path in readings if path and path[-1] == parts[-1]), max(readings, key=len))


def _readings(
    parts: tuple[int | str, ...], body: Any, *, missing: bool, may_be_tag: bool = True
) -> list[tuple[int | str, ...]]:
    """Return the paths that the parts may stand for, those that leave out the first part before those that take it."""
    if not parts:
        return [()]
    part, rest = parts[0], parts[1:]
    inner = _inside(body, part)
    if inner is None:
        return [(part,)] if missing and not rest else _readings(rest, body, missing=missing)
    taken = [(part, *path) for path in _readings(rest, inner, missing=missing)]
    is_tag = may_be_tag and rest and _is_tag(part, body)
    return [*(_readings(rest, body, missing=missing, may_be_tag=False) if is_tag else []), *taken]


def _is_tag(part: int | str, body: Any) -> bool:
    return isinstance(body, dict) and part in (body.get("type"), body.get("role"))


def _inside(body: Any, part: int | str) -> Any:
    if isinstance(body, list):
        return body[part] if isinstance(part, int) and part < len(body) else None
    return body.get(part) if isinstance(body, dict) else None


def response(
    error: Exception, describe_error: Callable[[Exception], Description] = describe, *, is_probe: bool = False
) -> JSONResponse:
    """Return the response to an error: a refusal is counted, unless it answers a probe, and a fault of the server is logged.

    `describe_error` gives a protocol's shape.
    """
    status, body, headers = describe_error(error)
    if isinstance(error, OverloadedError):
        if not is_probe:
            REFUSED.labels(error.reason).inc()
    elif status >= 500:
        logger.error("request %s failed: %s", REQUEST_ID.get(), error, exc_info=error if status == 500 else None)
    return JSONResponse(body, status, headers)


async def _handle_parameter(_: Request, error: Exception) -> JSONResponse:
    """Answer a fault of a parameter in a route's path or query."""
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    name, message = next(((str(fault["loc"][-1])[:64], fault["msg"]) for fault in faults), ("", ""))
    return response(InvalidRequestError(f"{name}: {message}.", name))


def install(app: FastAPI, probes: Collection[str] = ()) -> None:
    """Answer every error of the app in OpenAI's shape. `probes`: paths that only ask whether the server is ready."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return response(error, is_probe=request.url.path in probes)

    for kind in (AutoToolError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(RequestValidationError, _handle_parameter)
