"""The FastAPI app: the endpoints of every protocol and of operations, and errors."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from autotool_server import errors, page
from autotool_server.api import endpoint
from autotool_server.api.access_log import PROBES
from autotool_server.api.middleware import App
from autotool_server.api.ops import health, models, not_served, savings, tokenize, tools, usage
from autotool_server.api.protocol import protocols
from autotool_server.api.state import ServerState


def create_app(state: ServerState) -> App:
    """Return an app that serves `state.service` once it is set."""
    app = App(title="AutoTool Server", version=version("autotool-server"), redoc_url=None, lifespan=_lifespan)
    app.allowed_origins = state.settings.allowed_origins
    app.log_requests = state.settings.log_requests
    app.state.server = state
    for protocol in protocols():
        protocol.start(state)
    for router in _routers():
        app.router.routes.extend(router.routes)  # `include_router` makes each of them again
    if state.settings.page:
        app.router.routes.extend(page.routes())
    errors.install(app, PROBES)
    return app


def _routers() -> list[APIRouter]:
    """Return the routers of all endpoints."""
    operations = (module.router for module in (models, tools, tokenize, usage, savings, health, not_served))
    return [*map(endpoint.router, protocols()), *operations]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Begin and end what routers begin and end with the app."""
    async with AsyncExitStack() as stack:
        # Closed last: what a router ends, such as responses in the background, is counted too.
        stack.push_async_callback(app.state.server.quotas.close)
        if app.state.server.tracer is not None:
            stack.push_async_callback(app.state.server.tracer.close)
        stack.push_async_callback(app.state.server.auditor.close)
        for router in _routers():
            await stack.enter_async_context(router.lifespan_context(app))
        yield
