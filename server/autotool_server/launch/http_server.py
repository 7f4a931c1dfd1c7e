"""The HTTP server: uvicorn with this project's protocol."""

import functools
from typing import Any, cast

import uvicorn

from autotool_server.api.middleware import App
from autotool_server.api.state import ServerState
from autotool_server.launch.connections import Connections
from autotool_server.launch.http_protocol import HttpProtocol

STUCK_SECONDS = 10
"""Time from the closing of the port, when requests have ended, until what has not ended even then is cancelled."""


def config(app: App) -> uvicorn.Config:
    """Return the configuration of the server of an app."""
    state: ServerState = app.state.server
    connections = Connections.of(state.settings.max_connections, state.metrics.connections_refused.inc)
    state.metrics.connections.set_function(lambda: connections.num_open)
    return uvicorn.Config(
        app,
        http=cast("Any", functools.partial(HttpProtocol, state=state, limit=connections)),
        ws="none",
        log_level="warning",
        timeout_keep_alive=cast("Any", state.settings.keep_alive_seconds),  # passed to the event loop, which takes fractions
        timeout_graceful_shutdown=STUCK_SECONDS,
        access_log=False,
        lifespan="on",  # else uvicorn passes over an app that fails when it starts or ends
    )
