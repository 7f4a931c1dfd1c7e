"""Health, version and metrics, which need no key. `/health`, `/ping` and `/version` are vLLM's, for what was written for it."""

from importlib.metadata import version

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response

from autotool_server.api.openapi import Operation, documented
from autotool_server.api.state import ServerState, state_of

router = APIRouter()
PROBE = Operation(statuses=(500, 503))


@router.get("/health/live")
@documented(PROBE)
async def live() -> dict[str, str]:
    """Return 200 as long as the process answers."""
    return {"status": "live"}


@router.get("/health/ready")
@documented(PROBE)
async def ready(request: Request) -> dict[str, str]:
    """Return 200 if requests can be served, else 503 with the reason."""
    await _check(state_of(request))
    return {"status": "ready"}


@router.get("/health", response_class=Response)
@router.get("/ping", response_class=Response)
@router.post("/ping", response_class=Response)
@documented(PROBE)
async def health(request: Request) -> Response:
    """Return 200 without a body if requests can be served, else 503."""
    await _check(state_of(request))
    return Response()


async def _check(state: ServerState) -> None:
    """Raise the error for which requests cannot be served."""
    state.shutdown.refuse_if_draining()
    await state.service.engine.health()


@router.get("/version")
@documented(PROBE)
async def get_version() -> dict[str, str]:
    """Return the server's version."""
    return {"version": version("autotool-server")}


@router.get("/metrics", response_class=PlainTextResponse)
@documented(PROBE)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format, or as OpenMetrics where the client accepts it."""
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(state_of(request).metrics.page(encode), media_type=media_type)
