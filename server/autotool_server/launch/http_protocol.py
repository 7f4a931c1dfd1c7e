"""Uvicorn's protocol of a connection, with limits that its options do not have, and streams that HTTP/1.0 can read."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_server import errors
from autotool_server.api.access_log import PROBES
from autotool_server.api.state import ServerState
from autotool_server.errors import OverloadedError
from autotool_server.launch.connections import Connections

MAX_HEAD_BYTES = 64 * 1024
"""Largest URL and headers of a request, and largest trailers of a body, together."""
LINGER_SECONDS = 2.0
"""Time in which a refused client may still send, so that it reads the refusal: a closed port would answer it with a reset."""


class HttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits that its options do not have; and it sends no chunks over HTTP/1.0, which has none.

    A body of unknown length then ends with the connection (RFC 9112, section 6.3): uvicorn closes it after each response.
    """

    def __init__(self, *args: Any, state: ServerState, limit: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = state.settings
        self._metrics = state.metrics
        self._limit = limit
        self._deadline: asyncio.TimerHandle | None = None
        self._num_head_bytes = 0
        """Bytes that have come since the last one of which the parser has told something: it keeps them in memory."""
        self._is_in_head = False
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] as uvicorn does
        super().connection_made(transport)
        _close_unread(transport, self._settings.send_seconds)
        self._limit.add(self)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._limit.remove(self)
        super().connection_lost(exc)

    @property
    def is_serving(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def close(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._num_head_bytes += len(data)
        super().data_received(data)
        if self._num_head_bytes > MAX_HEAD_BYTES and not self._is_refused:
            self._refuse(_too_large())
        # Also while the rest of a body comes whose request has been answered: uvicorn would wait for it for ever.
        elif not (self.is_serving or self._is_refused or self.transport.is_closing()):
            self._wait_for_head()

    def on_message_begin(self) -> None:
        self._num_head_bytes = 0
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._is_refused:
            return
        if _size(self.url, self.headers) > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._limit.is_full and self.url.partition(b"?")[0].decode(errors="replace") not in PROBES:
            self._limit.refused()
            self._refuse(OverloadedError("The server has as many connections as it may. Try again in a second.", "connections"))
        else:
            self._serve()

    def _serve(self) -> None:
        self._stop_waiting()
        self._num_head_bytes = 0
        self._limit.busy(self)
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            _send_unchunked(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._num_head_bytes = 0
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._num_head_bytes = 0
        if not self._is_refused:
            self._stop_waiting()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.is_serving:
            self._limit.waits(self)

    def _wait_for_head(self) -> None:
        """Let a request arrive in full within the time of the settings, counted from its first byte."""
        self._deadline = self._deadline or self.loop.call_later(self._settings.receive_seconds, self._is_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_late(self) -> None:
        # Who has sent nothing waits for no response, and some clients would take one for that to their next request.
        if self._is_in_head:
            self._refuse(_too_late())
        else:
            self.close()

    def _refuse(self, error: AutoToolError) -> None:
        """Answer in place of the app, and close the connection once the client has read that."""
        self._is_refused = True
        self._stop_waiting()
        if self.is_serving:  # the response to an earlier request would be mixed up with this one
            self.close()
            return
        status, response = _response(error)
        self._metrics.refused(status)
        self.transport.write(response)
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.close)


def _too_large() -> InvalidRequestError:
    message = f"URL and headers are larger than {MAX_HEAD_BYTES} bytes. Send fewer or shorter ones."
    return InvalidRequestError(message, code="headers_too_large", status=431)


def _too_late() -> InvalidRequestError:
    message = "The headers did not arrive in time. Send the request again."
    return InvalidRequestError(message, code="request_timeout", status=408)


def _response(error: AutoToolError) -> tuple[int, bytes]:
    """Return the status of an error, and the whole response to it, after which the connection is closed."""
    response = errors.response(error)
    headers = [*response.raw_headers, (b"connection", b"close")]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return response.status_code, STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body)


def _size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) for name, value in headers)


def _close_unread(transport: asyncio.Transport, seconds: float) -> None:
    """Have the kernel end a connection whose client takes nothing of what was sent to it for so long (Linux, `man 7 tcp`)."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


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
