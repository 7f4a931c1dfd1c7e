"""The FastAPI app: routes and errors, nothing else."""

from fastapi import FastAPI

from autotool_server import errors
from autotool_server.api.chat_completions import route
from autotool_server.api.ops import health, models, tools
from autotool_server.api.state import ServerState


def create_app(state: ServerState) -> FastAPI:
    """An app that serves `state.service` once it is there."""
    app = FastAPI(title="AutoTool Server", openapi_url=None)
    app.state.server = state
    for module in (route, models, tools, health):
        app.include_router(module.router)
    errors.install(app)
    return app
