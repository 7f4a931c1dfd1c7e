"""The FastAPI app: the endpoints of every protocol and of operations, and errors."""

from fastapi import FastAPI

from autotool_server import errors
from autotool_server.api import endpoint
from autotool_server.api.ops import health, models, tools
from autotool_server.api.protocol import protocols
from autotool_server.api.state import ServerState


def create_app(state: ServerState) -> FastAPI:
    """Return an app that serves `state.service` once it is set."""
    app = FastAPI(title="AutoTool Server", openapi_url=None)
    app.state.server = state
    for protocol in protocols():
        protocol.start(state)
        app.include_router(endpoint.router(protocol))
    for module in (models, tools, health):
        app.include_router(module.router)
    errors.install(app)
    return app
