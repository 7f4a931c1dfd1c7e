"""One line for every request, as text for people or as JSON for programs. Prompts and answers are never in it."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotool_core.errors import AutoToolError
from autotool_core.record import Timings
from autotool_server.api.disconnect import ClientGoneError
from autotool_server.api.metrics import CLIENT_GONE
from autotool_server.conversation.job import Job
from autotool_server.errors import describe
from autotool_server.request_id import REQUEST_ID
from autotool_server.tracing import spans

logger = logging.getLogger(__name__)

PROBES = frozenset({"/health", "/health/live", "/health/ready", "/ping", "/metrics"})
"""Routes that are asked every few seconds by machines, and have no lines."""
MAX_PATH = 200


@dataclass(slots=True)
class Entry:
    """What is known of a request so far."""

    id: str
    method: str
    path: str
    started: float
    """As `time.perf_counter`."""
    form: Callable[["Entry"], str]
    """What makes the line."""
    status: int = CLIENT_GONE
    """Until a response is sent, the client has none."""
    error: str | None = None
    """The code of the error that ended the request."""
    key: str | None = None
    """The name of the client's key in the keys file."""
    job: Job | None = None
    is_stream: bool = False
    is_background: bool = False
    """Whether this is the work of a request that has been answered before."""


_ENTRY = ContextVar[Entry | None]("_ENTRY", default=None)


class AccessLog:
    """Writes a line for every request that the app is sent, once it has ended."""

    def __init__(self, app: ASGIApp, form: str) -> None:
        self._app = app
        self._form = FORMATS[form]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, and note the status that it sends."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        # A path is the client's text, which must not begin a line of its own.
        path = quote(scope["path"][:MAX_PATH], safe="/.-_~:")
        entry = Entry(REQUEST_ID.get(), scope["method"], path, time.perf_counter(), self._form)
        _ENTRY.set(entry)

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        finally:
            _write(entry)


def _write(entry: Entry) -> None:
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", entry.form(entry))


def note_key(name: str) -> None:
    """Note the name of the current request's key."""
    if entry := _ENTRY.get():
        entry.key = name


def note_job(job: Job, *, is_stream: bool) -> None:
    """Note the job of the current request."""
    if entry := _ENTRY.get():
        entry.job, entry.is_stream = job, is_stream


def note_end(status: int, error: str | None) -> None:
    """Note how the current request has ended, which a stream's status line cannot say. `error`: its `error_code`."""
    if entry := _ENTRY.get():
        entry.status, entry.error = status, error


@contextmanager
def in_background() -> Iterator[None]:
    """Write a second line for a request whose work goes on after its response."""
    answered = _ENTRY.get()
    if answered is None:
        yield
        return
    entry = replace(answered, started=time.perf_counter(), is_background=True)
    _ENTRY.set(entry)
    try:
        yield
    finally:
        _write(entry)


def error_code(error: BaseException) -> str:
    """Return the code of an error, as OpenAI's shape has it."""
    if isinstance(error, ClientGoneError | asyncio.CancelledError):
        return "cancelled"
    if not isinstance(error, AutoToolError):
        return "internal_error"
    fault = describe(error)[1]["error"]
    return fault["code"] or fault["type"]


@contextmanager
def paused() -> Iterator[None]:
    """Write no lines meanwhile."""
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def as_text(entry: Entry) -> str:
    """Return the line for people."""
    values = _values(entry)
    kinds = [kind for kind, holds in (("stream", entry.is_stream), ("background", entry.is_background)) if holds]
    modes = "->".join(filter(None, (values["mode"], values["resolved"])))
    shown = {
        "error": values["error"],
        "key": entry.key,
        "p_long": _rounded(values["p_long"], ""),
        "turns": values["turns"] if (values["turns"] or 0) > 1 else None,
        "prompt": values["prompt_tokens"],
        "reasoning": values["reasoning_tokens"],
        "answer": values["answer_tokens"],
        "first": _rounded(values["first_token_seconds"], "s"),
        "total": _rounded(values["seconds"], "s"),
        "id": entry.id,
    }
    pairs = [f"{name}={value}" for name, value in shown.items() if value is not None]
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return " ".join([now, str(entry.status), entry.method, entry.path, *kinds, *([modes] if modes else []), *pairs])


def as_json(entry: Entry) -> str:
    """Return the line for programs: an object that always has the same keys."""
    head = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "request_id": entry.id}
    route = {"method": entry.method, "path": entry.path, "status": entry.status, "stream": entry.is_stream}
    route |= {"background": entry.is_background, "key": entry.key, "trace_id": spans.current().trace_id}
    return json.dumps(head | route | _values(entry))


FORMATS: Mapping[str, Callable[[Entry], str]] = {"short": as_text, "json": as_json}


def _values(entry: Entry) -> dict[str, Any]:
    """Return what the request used. Tokens are those of `usage`; the answer's include the decision token."""
    job = entry.job
    turns = job.turns if job is not None else []
    usage = job.usage() if job is not None else None
    resolved = dict.fromkeys(turn.resolved for turn in turns if turn.resolved is not None and turn.ledger.completion_tokens)
    first = [turn.ledger.first_token_at for turn in turns if turn.ledger.first_token_at is not None]
    timings = job.timings() if job is not None else Timings()
    return {
        "id": job.id if job is not None else None,
        "mode": job.mode if job is not None else None,
        "resolved": "+".join(resolved) or None,
        "p_long": next((turn.p_long for turn in turns if turn.p_long is not None), None),
        "turns": len(turns) if job is not None else None,
        "prompt_tokens": usage.prompt if usage is not None else None,
        "cached_tokens": usage.cached if usage is not None else None,
        "reasoning_tokens": usage.reasoning if usage is not None else None,
        "answer_tokens": usage.completion - usage.reasoning if usage is not None else None,
        "queue_seconds": _seconds(timings.queue),
        "decide_seconds": _seconds(timings.decide),
        "first_token_seconds": _seconds(min(first) - entry.started) if first else None,
        "reasoning_seconds": _seconds(timings.reasoning),
        "seconds": _seconds(time.perf_counter() - entry.started),
        "error": entry.error,
    }


def _seconds(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _rounded(number: float | None, unit: str) -> str | None:
    return None if number is None else f"{number:.2f}{unit}"
