"""The messages between the SDK and an MCP server: lists of tools are mended on their way, and the end of the server is noticed.

The SDK has no way to read an answer that it holds invalid, but a transport is public and simple: two streams of messages.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse, RequestId

from autotool_server.tools.sources.mcp_listing import METHOD, ListingMender


class Messages:
    """Watches the messages of one connection.

    `version` returns the negotiated version of the protocol once there is one; `closed` is called when the server closes its
    side, which the SDK reports to pending requests only.
    """

    def __init__(self, version: Callable[[], str], closed: Callable[[], None]) -> None:
        self._version = version
        self._closed = closed
        self._mender = ListingMender()
        self._listings = set[RequestId]()

    @asynccontextmanager
    async def over(self, transport: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        """Open the transport and yield its streams, watched."""
        send, receive = anyio.create_memory_object_stream[Any]()
        async with transport as (incoming, outgoing), receive, anyio.create_task_group() as group:

            async def forward() -> None:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    async with send:
                        async for message in incoming:
                            await send.send(self._mended(message))
                self._closed()

            group.start_soon(forward)
            yield receive, _Outgoing(outgoing, self._note)
            group.cancel_scope.cancel()

    def _note(self, message: SessionMessage) -> None:
        """Remember the id of a request for the list of tools."""
        if isinstance(request := message.message, JSONRPCRequest) and request.method == METHOD:
            self._listings.add(request.id)

    def _mended(self, message: SessionMessage | Exception) -> SessionMessage | Exception:
        """Return the message; an answer with a list of tools has them mended."""
        if not isinstance(message, SessionMessage) or not isinstance(answer := message.message, JSONRPCResponse):
            return message
        if answer.id not in self._listings:
            return message
        self._listings.discard(answer.id)
        result = self._mender.mend(answer.result, self._version())
        return replace(message, message=answer.model_copy(update={"result": result}))


class _Outgoing:
    """A stream to a server that shows each message before it is sent."""

    def __init__(self, stream: Any, note: Callable[[SessionMessage], None]) -> None:
        self._stream = stream
        self._note = note

    async def send(self, item: SessionMessage, /) -> None:
        self._note(item)
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> "_Outgoing":
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)
