"""`GET /health/live`, `/health/ready` and `/metrics`, which need no key."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from autotool_server.api.state import state_of

router = APIRouter()


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Return 200 as long as the process answers."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, str]:
    """Return 200 if requests can be served, else 503 with the reason."""
    await state_of(request).service.engine.health()
    return {"status": "ready"}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(state_of(request).metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
