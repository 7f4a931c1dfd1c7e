"""The HTTP server: uvicorn, with streams that clients of HTTP/1.0 can read."""

from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

STUCK_SECONDS = 10
"""Time from the closing of the port, when requests have ended, until what has not ended even then is cancelled."""


def config(app: ASGIApp) -> uvicorn.Config:
    """Return the configuration of the server of an app."""
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        log_level="warning",
        timeout_graceful_shutdown=STUCK_SECONDS,
        access_log=False,
        lifespan="on",  # else uvicorn passes over an app that fails when it starts or ends
    )


class HttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, except that it sends no chunks over HTTP/1.0, which has none.

    A body of unknown length then ends with the connection (RFC 9112, section 6.3): uvicorn closes it after each response.
    """

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        cycle = self.cycle
        # The cycle of this request has been created and not run yet; there is none for an upgrade.
        if cycle is not None and cycle.scope is self.scope and self.scope["http_version"] == "1.0":
            _send_unchunked(cycle)


def _send_unchunked(cycle: RequestResponseCycle) -> None:
    """Have a cycle send a body without a length as it comes."""
    send = cycle.send
    is_length_known = False

    async def send_unchunked(message: Any) -> None:
        nonlocal is_length_known
        if message["type"] == "http.response.start":
            is_length_known = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
        if not is_length_known:
            cycle.chunked_encoding = False
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_unchunked
