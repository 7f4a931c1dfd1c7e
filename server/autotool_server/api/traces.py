"""The span of a request over HTTP, and what is noted on it. Prompts and answers are never in it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from autotool_server.api.access_log import MAX_PATH, PROBES
from autotool_server.api.metrics import CLIENT_GONE
from autotool_server.conversation.job import Job
from autotool_server.errors import REQUEST_ID
from autotool_server.tracing import spans
from autotool_server.tracing.spans import Span

if TYPE_CHECKING:
    from autotool_server.tracing.otlp import Tracer


class Traces:
    """Traces every request that the app is sent, except for health probes."""

    def __init__(self, app: ASGIApp, tracer: "Tracer") -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app within a span of the trace that the client's `traceparent` names, else of a new one."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        with spans.entered(self._tracer.server_span(scope["method"], Headers(scope=scope), _asked(scope))) as span:
            try:
                await self._app(scope, receive, send)
            finally:
                _note_route(span, scope)


def _asked(scope: Scope) -> Mapping[str, Any]:
    return {
        "http.request.method": scope["method"],
        "url.path": scope["path"][:MAX_PATH],
        "url.scheme": scope["scheme"],
        "autotool.request_id": REQUEST_ID.get(),
    }


def _note_route(span: Span, scope: Scope) -> None:
    if (route := getattr(scope.get("route"), "path", None)) is not None:
        span.set({"http.route": route})
        span.rename(f"{scope['method']} {route}")


def note_status(status: int) -> None:
    """Note the status that the response to the current request begins with."""
    span = spans.current()
    span.set({"http.response.status_code": status})
    if status == CLIENT_GONE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail("cancelled" if status == CLIENT_GONE else str(status))


def note_end(status: int, error: str | None) -> None:
    """Note how the current request has ended, which a stream's status line cannot say. `error`: the code of its error."""
    span = spans.current()
    span.set({"http.response.status_code": status})
    if error is None:
        return
    if status == CLIENT_GONE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(error)
    else:
        span.set({"error.type": error})  # the client's fault is none of the server


def note_job(job: Job, *, is_stream: bool) -> None:
    """Note what the job of the current request has used."""
    span = spans.current()
    if not span.is_recording:
        return
    usage, turns = job.usage(), job.turns
    resolved = dict.fromkeys(turn.resolved for turn in turns if turn.resolved is not None and turn.ledger.completion_tokens)
    seconds = job.timings().model_dump(exclude_none=True)
    span.set(
        {
            "autotool.response_id": job.id,
            "autotool.stream": is_stream,
            "autotool.mode": job.mode.value if job.mode is not None else None,
            "autotool.resolved": "+".join(resolved) or None,
            "autotool.turns": len(turns),
            "autotool.prompt_tokens": usage.prompt,
            "autotool.cached_tokens": usage.cached,
            "autotool.reasoning_tokens": usage.reasoning,
            "autotool.completion_tokens": usage.completion,
            **{f"autotool.{name}_seconds": value for name, value in seconds.items()},
        }
    )
