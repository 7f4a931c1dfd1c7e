"""The FastAPI app: the endpoints of every protocol and of operations, and errors."""

from importlib.metadata import version

from autotool_server import errors
from autotool_server.api import endpoint
from autotool_server.api.middleware import App
from autotool_server.api.ops import health, models, not_served, tokenize, tools, usage
from autotool_server.api.protocol import protocols
from autotool_server.api.state import ServerState


def create_app(state: ServerState) -> App:
    """Return an app that serves `state.service` once it is set."""
    app = App(title="AutoTool Server", version=version("autotool-server"), redoc_url=None)
    app.allowed_origins = state.settings.allowed_origins
    app.log_requests = state.settings.log_requests
    app.state.server = state
    for protocol in protocols():
        protocol.start(state)
        app.include_router(endpoint.router(protocol))
    for module in (models, tools, tokenize, usage, health, not_served):
        app.include_router(module.router)
    errors.install(app)
    return app
