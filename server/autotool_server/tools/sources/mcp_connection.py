"""The connection to an MCP server, by the official SDK: kept up by a task of its own, and shared by all calls.

The SDK's cancel scopes must be left by the task that entered them, so one task opens a connection, watches it and closes it.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
from mcp import Client, MCPError, types
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

from autotool_server.tools.base import ToolError, TransientError

logger = logging.getLogger(__name__)
for _name in ("mcp", "client"):
    # The SDK logs with a traceback what it cannot read, and so whatever a server sends, as often as it sends it.
    logging.getLogger(_name).setLevel(logging.CRITICAL)

START_SECONDS = 30.0
"""Within which a server has to be reached and to list its tools."""
LIST_SECONDS = 15.0
CLOSE_SECONDS = 5.0
"""For a connection to be closed in good order. A stdio server that does not leave by itself has a few seconds more."""
HEARTBEAT_SECONDS = 30.0
"""How often the tools are listed without a reason: finds a server that is gone, and changes that none was told of."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds between attempts to reach a server again; each pause is twice the one before, until one has lasted."""
LISTEN_PAUSE = 5.0
"""Seconds before a stream of changes that broke off is asked for again."""
FINAL = {types.INVALID_PARAMS, types.METHOD_NOT_FOUND}
"""Errors that would come again if the call were made again."""
CANNOT_READ = "The tool's server sent an answer that cannot be read."

Transport = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens the streams to a server."""
Listed = Callable[[Sequence[types.Tool]], None]
"""Takes the tools of a server: after each connect, and whenever they may have changed."""


class Connection:
    """A server that is connected to at the start, and again whenever it is lost."""

    def __init__(self, where: str, transport: Transport, listed: Listed) -> None:
        self._where = where
        self._transport = transport
        self._listed = listed
        self._client: Client | None = None
        self._ready = asyncio.Event()
        self._look_again = asyncio.Event()
        self._stopping = asyncio.Event()
        self._calls = 0
        self._life = anyio.CancelScope()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and list. Raises whatever keeps it from that: TimeoutError after START_SECONDS."""
        started = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_up(started))
        await started

    async def stop(self) -> None:
        """Disconnect; a stdio server is ended."""
        if self._task is None:
            return
        self._stopping.set()
        self._look_again.set()
        if self._client is not None:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        # By its scope, as the SDK shields the end of a process from a scope and from nothing else.
        self._life.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def ready(self) -> None:
        """Wait until it is up, and the tools are known as they are now."""
        await self._ready.wait()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Call a tool of a connection that is ready. Raises ToolError where no result comes; cancelling tells the server."""
        if self._client is None:
            raise TransientError("The tool's server is not there.")
        self._calls += 1
        try:
            # Without a limit of the SDK's: the executor's time-out ends the call.
            return await self._client.call_tool(name, dict(arguments), read_timeout_seconds=math.inf)
        except MCPError as error:
            # The connection may be to blame: listing finds it out, and the next call waits for that.
            self._changed()
            raise _failed(error) from error
        except (ValueError, RuntimeError) as error:
            raise ToolError(CANNOT_READ) from error
        finally:
            self._calls -= 1

    def _changed(self) -> None:
        """What was listed may not hold any more."""
        self._ready.clear()
        self._look_again.set()

    async def _keep_up(self, started: "asyncio.Future[None]") -> None:
        """Connect, watch and connect again until stopped. The first connection, or why there is none, settles `started`."""
        pause = FIRST_PAUSE
        with self._life:
            while not self._stopping.is_set():
                began = anyio.current_time()
                try:
                    await self._connected(started)
                except Exception as error:  # whatever a server or the SDK may raise ends a connection, not the task
                    if not started.done():
                        started.set_exception(error)
                        return
                    logger.warning("%s: not connected (%s)", self._where, type(first(error)).__name__)
                if anyio.current_time() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                with anyio.move_on_after(pause):
                    await self._stopping.wait()
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _connected(self, started: "asyncio.Future[None]") -> None:
        """One connection, from its beginning until it is lost or stopped."""
        with anyio.fail_after(START_SECONDS) as limit:
            async with AsyncExitStack() as stack:
                transport = _told_of_end(self._transport(), self._changed)
                # Listings are asked for when they may have changed, so none is kept.
                client = Client(transport, message_handler=self._heard, cache=None, read_timeout_seconds=LIST_SECONDS)
                await stack.enter_async_context(client)
                self._look_again.clear()
                self._listed(await _tools(client))
                limit.deadline = math.inf
                self._client = client
                if not started.done():
                    started.set_result(None)
                try:
                    await self._watch(client)
                finally:
                    self._client = None
                    self._ready.clear()
                    limit.deadline = anyio.current_time() + CLOSE_SECONDS

    async def _watch(self, client: Client) -> None:
        """List the tools again when they may have changed, and now and then. Raises when the connection is lost."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, client)
            current = True
            while not self._stopping.is_set():
                if current and not self._look_again.is_set():
                    self._ready.set()
                with anyio.move_on_after(HEARTBEAT_SECONDS if current else 0):
                    await self._look_again.wait()
                self._look_again.clear()
                current = self._stopping.is_set() or await self._look(client)
            group.cancel_scope.cancel()

    async def _look(self, client: Client) -> bool:
        """Whether the tools could be listed. A server that works on a call may be too busy for it; another one is lost."""
        try:
            with anyio.fail_after(LIST_SECONDS):
                self._listed(await _tools(client))
        except TimeoutError:
            if not self._calls:
                raise
            return False
        except MCPError as error:
            if error.code != types.REQUEST_TIMEOUT or not self._calls:
                raise
            return False
        return True

    async def _listen(self, client: Client) -> None:
        """Newer servers tell of changes to those who ask for it, older ones everybody (`_heard`)."""
        while True:
            try:
                async with client.listen(tools_list_changed=True) as events:
                    # Nobody was told of a change since the last listing.
                    self._changed()
                    async for _ in events:
                        self._changed()
            except (ListenNotSupportedError, MCPError, TimeoutError):
                return
            except SubscriptionLost:
                self._changed()
            await anyio.sleep(LISTEN_PAUSE)

    async def _heard(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._changed()


async def _tools(client: Client) -> list[types.Tool]:
    """Those of all pages."""
    page = await client.list_tools()
    tools = [*page.tools]
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools


@asynccontextmanager
async def _told_of_end(transport: AbstractAsyncContextManager[Any], ended: Callable[[], None]) -> AsyncIterator[Any]:
    """The transport, which tells when the server has closed its side: the SDK says so only to those who wait for an answer."""
    send, receive = anyio.create_memory_object_stream[Any]()
    async with transport as (incoming, outgoing), receive, anyio.create_task_group() as group:

        async def forward() -> None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async with send:
                    async for message in incoming:
                        await send.send(message)
            ended()

        group.start_soon(forward)
        yield receive, outgoing
        group.cancel_scope.cancel()


def _failed(error: MCPError) -> ToolError:
    """What the model reads of an answer that is an error, or of none."""
    if error.code == types.CONNECTION_CLOSED:
        return TransientError("The tool's server broke off the connection before it had answered.")
    kind = ToolError if error.code in FINAL else TransientError
    return kind(f"The tool's server refused the call: {error.message}")


def first(error: BaseException) -> BaseException:
    """The first cause within groups of exceptions."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
