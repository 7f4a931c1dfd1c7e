"""`GET /health/live`, `/health/ready` and `/metrics`: for those who run the server, without a key."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from autotool_server.api.state import state_of

router = APIRouter()


@router.get("/health/live")
async def live() -> dict[str, str]:
    """200 as long as the process answers at all."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, str]:
    """200 when requests can be served, else 503 with the reason."""
    await state_of(request).service.engine.health()
    return {"status": "ready"}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(state_of(request).metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
