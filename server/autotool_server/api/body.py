"""Request bodies: read within a limit, checked against a protocol's type, and free of fields that it does not know."""

import asyncio
import codecs
import difflib
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from fastapi import Request
from pydantic import BaseModel, ValidationError

from autotool_core.errors import InvalidRequestError
from autotool_server import errors
from autotool_server.api.content_encoding import content_decoder
from autotool_server.api.fields import OwnFields
from autotool_server.api.state import ServerState
from autotool_server.settings import Settings

BodyT = TypeVar("BodyT", bound=BaseModel)

UnknownFields = Literal["warn", "refuse", "ignore"]

OWN_FIELDS = tuple(OwnFields.model_fields)
"""This project's fields. A field that is nearly one of them is a typing error, which would change the answer."""

MIN_SIMILARITY = 0.81
"""`models`, which other servers take, is as similar to `mode` as 0.80."""

MIN_RATE = 8 * 1024
"""Bytes a second at which a body must come on average, once it has paused for as long as one pause may take."""
TOO_SLOW = "The body did not arrive in time. Send the request again, without pauses."

IGNORED_HEADER = "x-autotool-ignored"
MAX_HEADER = 1024


@dataclass(frozen=True, slots=True)
class ParsedBody(Generic[BodyT]):
    """A body, and the paths of the fields that were left out of it because they are unknown."""

    body: BodyT
    ignored: Sequence[str] = ()


async def read(request: Request, state: ServerState, held: ExitStack) -> bytes:
    """Return the decoded body, read and decoded no further than the limit of the settings. `held` holds its bytes in admission.

    Raises StoppingError if the server stops before all of it is here, OverloadedError if the bodies of all requests are larger
    than they may be together, and InvalidRequestError (408) if this one comes too slowly.
    """
    grow = held.enter_context(state.admission.body())
    with state.shutdown.arrives():
        try:
            return await _read(request, state.settings, grow)
        except TimeoutError:
            raise InvalidRequestError(TOO_SLOW, code="request_timeout", status=408) from None


async def _read(request: Request, settings: Settings, grow: Callable[[int], None]) -> bytes:
    _refuse_simple_requests(request)
    decoder = content_decoder(request.headers.get("content-encoding", ""))
    limit = settings.max_body_bytes
    body = bytearray()
    received = 0
    async with asyncio.timeout(settings.receive_seconds) as timeout:
        pace = _Pace(settings.receive_seconds)
        async for part in request.stream():
            received += len(part)
            decoded = decoder.decode(part, limit + 1 - len(body))
            body += decoded
            if max(received, len(body)) > limit:
                raise InvalidRequestError(f"The body is larger than {limit} bytes.", code="body_too_large", status=413)
            grow(len(decoded))
            timeout.reschedule(pace.deadline(received))
    decoder.finish()
    return bytes(body)


class _Pace:
    """The time by which more of a body must be here: it may pause for some seconds, and in all for as long at `MIN_RATE`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = asyncio.get_running_loop().time
        self._started = self._now()

    def deadline(self, received: int) -> float:
        """Return the time of the event loop at which the next bytes are late."""
        return self._seconds + min(self._now(), self._started + received / MIN_RATE)


def _refuse_simple_requests(request: Request) -> None:
    """Raise InvalidRequestError for what a page of any origin may send without asking: a body that is not declared as JSON.

    Otherwise every page that its user visits could use a server without a key on the user's machine, and its tools.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        message = "Content-Type must be application/json: send the header (curl: -H 'Content-Type: application/json')."
        raise InvalidRequestError(message, code="unsupported_media_type", status=415)


def parse(body_type: type[BodyT], raw: bytes, unknown_fields: UnknownFields = "refuse") -> ParsedBody[BodyT]:
    """Return a checked body. Raises InvalidRequestError, naming the field.

    `unknown_fields`: `refuse` raises for a field that the type does not have; otherwise it is left out, and reported if it is
    `warn`. A top-level field that is nearly one of `OWN_FIELDS` is always refused.
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)
    values = _json_object(raw)
    try:
        return ParsedBody(body_type.model_validate_json(raw))
    except ValidationError as error:
        refused = errors.invalid_body(error, values)
        unknown = _unknown_paths(error, values)
    if unknown_fields == "refuse" or not unknown:
        raise refused
    _refuse_near_misses([str(path[0])[:64] for path in unknown if len(path) == 1], body_type.model_fields)
    if own := next((path for path in unknown if path[0] == "tool_budget"), None):
        field = ".".join(map(str, own))[:128]
        raise InvalidRequestError(f"{field} is not a field of this server.", field, code="unsupported_field")
    for path in unknown:
        _remove(values, path)
    parsed = parse(body_type, json.dumps(values).encode(), unknown_fields)
    names = [".".join(map(str, path)) for path in unknown] if unknown_fields == "warn" else []
    return ParsedBody(parsed.body, [*names, *parsed.ignored])


def ignored_header(ignored: Sequence[str]) -> dict[str, str]:
    """Return the header that names the fields which were left out."""
    names = quote(", ".join(ignored), safe=" ,._-[]:/")
    if len(names) > MAX_HEADER:
        names = names[:MAX_HEADER].rpartition(",")[0] or names[:MAX_HEADER].rpartition("%")[0]
    return {IGNORED_HEADER: names} if names else {}


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        values = json.loads(raw)
        # Half of a surrogate pair can be written in JSON, but is no character: no tokenizer and no answer can hold it.
        # Nor can JSON hold a number that is not finite.
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequestError("The body is not valid JSON in UTF-8.", code="invalid_json") from None
    if not isinstance(values, dict):
        raise InvalidRequestError("The body must be a JSON object.", code="invalid_json")
    return values


def _unknown_paths(error: ValidationError, values: Any) -> list[tuple[str | int, ...]]:
    """Return the paths of unknown fields; none if the body has another fault, which is reported first."""
    faults = errors.faults(error, values)
    if any(fault["type"] != "extra_forbidden" for fault in faults):
        return []
    return [errors.location(fault["loc"], values) for fault in faults]


def _refuse_near_misses(unknown: Sequence[str], known: Collection[str]) -> None:
    """Raise InvalidRequestError for a name that is nearly one of this project's fields, letters out of order included."""
    own = [name for name in OWN_FIELDS if name in known]
    for field in unknown:
        lower = field.casefold()
        swapped = [name for name in own if sorted(name) == sorted(lower)]
        for name in swapped or difflib.get_close_matches(lower, own, 1, MIN_SIMILARITY):
            message = f"{field} is not a field of this server. Did you mean {name}?"
            raise InvalidRequestError(message, field, code="unsupported_field")


def _remove(values: Any, path: Sequence[str | int]) -> None:
    for part in path[:-1]:
        values = values[part]
    values.pop(path[-1], None)
