"""What surrounds the whole app: request ids, HEAD, names and origins, and the end of connections."""

import re
import uuid
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotool_server.api import openapi, traces
from autotool_server.api.access_log import AccessLog
from autotool_server.api.body import IGNORED_HEADER
from autotool_server.api.hosts import AllowedHosts
from autotool_server.api.keys.quotas import LIMIT_HEADERS
from autotool_server.api.traces import Traces
from autotool_server.request_id import REQUEST_ID

REQUEST_ID_HEADER = "x-request-id"
ANTHROPIC_ID_HEADER = "request-id"
_SANE_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


class App(FastAPI):
    """An app whose every response, those to errors that nobody has caught included, passes what is in this module."""

    allowed_origins: tuple[str, ...] = ()
    log_requests: str = "off"

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, which is made once."""
        self.openapi_schema = self.openapi_schema or openapi.document(self)
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        """Return the app with everything around it."""
        app: ASGIApp = AllowedHosts(HeadAsGet(super().build_middleware_stack()), self.state.server.settings)
        if self.allowed_origins:
            exposed = (REQUEST_ID_HEADER, ANTHROPIC_ID_HEADER, IGNORED_HEADER, "retry-after", *LIMIT_HEADERS)
            app = CORSMiddleware(app, self.allowed_origins, allow_methods=("*",), allow_headers=("*",), expose_headers=exposed)
        if self.log_requests != "off":
            app = AccessLog(app, self.log_requests)
        if (tracer := self.state.server.tracer) is not None:
            app = Traces(app, tracer)
        return RequestIds(ClosesConnections(app, lambda: self.state.server.shutdown.is_draining))


class ClosesConnections:
    """Closes the connections of answers that begin while the server stops: their clients' next request goes elsewhere."""

    def __init__(self, app: ASGIApp, is_stopping: Callable[[], bool]) -> None:
        self._app = app
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app."""

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_stopping():
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_closing)


class RequestIds:
    """Gives every request an id, its own `x-request-id` if it has a sane one, and sends it back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with the id in `REQUEST_ID`, for the log."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        REQUEST_ID.set(request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                traces.note_status(message["status"])  # here, since a function around each message costs more than a span
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class HeadAsGet:
    """Answers HEAD as GET. The server does not send the body of an answer to HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app."""
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self._app({**scope, "method": "GET"} if is_head else scope, receive, send)
