"""The connection to an MCP server through the official SDK: one task maintains it, and all calls share it.

The SDK's cancel scopes must be left by the task that entered them, so one task opens, watches and closes a connection.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio
from mcp import Client, MCPError, types
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from pydantic import ValidationError

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import ToolError, TransientError
from autotool_server.tools.sources.mcp_messages import Messages

logger = logging.getLogger(__name__)
for _name in ("mcp", "client"):
    # The SDK logs every message that it cannot read, with a traceback, so a server could fill the log.
    logging.getLogger(_name).setLevel(logging.CRITICAL)

START_SECONDS = 30.0
"""The time limit for connecting to a server and listing its tools."""
LIST_SECONDS = 15.0
CLOSE_SECONDS = 5.0
"""The time limit for closing a connection. A stdio server that does not end by itself has a few seconds more."""
HEARTBEAT_SECONDS = 30.0
"""How often the tools are listed in any case, to detect a lost server and changes without a notification."""
MIN_RECONNECT_SECONDS, MAX_RECONNECT_SECONDS = 0.2, 30.0
"""The pause between attempts to reconnect: doubled after each attempt, reset after a connection that lasted."""
MAX_PAGES = 1000
"""The limit of pages of a list of tools."""
MAX_LISTED_BYTES = 16 * 2**20
"""The limit of names, descriptions and schemas in a list of tools, as JSON."""
MAX_CURSOR_CHARACTERS = 64
LISTEN_RETRY_SECONDS = 5.0
"""The pause before a broken stream of change notifications is requested again."""
PERMANENT_ERRORS = {types.INVALID_PARAMS, types.METHOD_NOT_FOUND}
"""Errors that a retry would get again."""
UNREADABLE_RESULT = "The tool's server sent an answer that cannot be read."

Transport = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens the streams to a server."""
OnTools = Callable[[Sequence[types.Tool]], None]
"""Receives the tools of a server: after each connect, and whenever they may have changed."""


class ListingError(AutoToolError):
    """A server's list of tools that cannot be read or has no end. Its connection and its other answers may be sound."""


class Connection:
    """A connection to a server, opened again whenever it is lost. `label` names the server in the log."""

    def __init__(self, label: str, transport: Transport, on_tools: OnTools) -> None:
        self._label = label
        self._transport = transport
        self._on_tools = on_tools
        self._client: Client | None = None
        self._ready = asyncio.Event()
        self._refresh_requested = asyncio.Event()
        self._stopping = asyncio.Event()
        self._calls = 0
        self._listing_error = ""
        self._scope = anyio.CancelScope()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and list the tools. Raises any error that prevents it, and TimeoutError after START_SECONDS."""
        started = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._maintain(started))
        await started

    async def stop(self) -> None:
        """Disconnect. A stdio server is ended."""
        if self._task is None:
            return
        self._stopping.set()
        self._refresh_requested.set()
        if self._client is not None:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        # Cancelled by its scope: the SDK shields the end of a process from scopes, but not from a task's cancellation.
        self._scope.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def ready(self) -> None:
        """Wait until the server is connected and its current tools are listed."""
        await self._ready.wait()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Call a tool over a ready connection. Raises ToolError if there is no result. A cancellation is sent to the server."""
        if self._client is None:
            raise TransientError("The tool's server is not there.")
        self._calls += 1
        try:
            # The SDK sets no time limit: the executor's time-out ends the call.
            return await self._client.call_tool(name, dict(arguments), read_timeout_seconds=math.inf)
        except MCPError as error:
            # The connection may be broken. A listing finds out, and the next call waits for it.
            self._request_refresh()
            raise _tool_error(error) from error
        except (ValueError, RuntimeError) as error:
            raise ToolError(UNREADABLE_RESULT) from error
        finally:
            self._calls -= 1

    def _request_refresh(self) -> None:
        """Have the tools listed again, since they may have changed."""
        self._ready.clear()
        self._refresh_requested.set()

    async def _maintain(self, started: "asyncio.Future[None]") -> None:
        """Keep the server connected until stopped. The outcome of the first connection goes into `started`."""
        pause = MIN_RECONNECT_SECONDS
        with self._scope:
            while not self._stopping.is_set():
                opened = anyio.current_time()
                try:
                    await self._run_connection(started)
                except Exception as error:  # any error of a server or the SDK ends the connection, not the task
                    if not started.done():
                        started.set_exception(error)
                        return
                    logger.warning("%s: not connected (%s)", self._label, type(root_cause(error)).__name__)
                if anyio.current_time() - opened > MAX_RECONNECT_SECONDS:
                    pause = MIN_RECONNECT_SECONDS
                with anyio.move_on_after(pause):
                    await self._stopping.wait()
                pause = min(2 * pause, MAX_RECONNECT_SECONDS)

    async def _run_connection(self, started: "asyncio.Future[None]") -> None:
        """Open one connection and serve it until it is lost or stopped."""
        with anyio.fail_after(START_SECONDS) as limit:
            async with AsyncExitStack() as stack:
                messages = Messages(version=lambda: client.protocol_version, closed=self._request_refresh)
                transport = messages.over(self._transport())
                # No cache: a listing is requested when the tools may have changed.
                client = Client(transport, message_handler=self._on_message, cache=None, read_timeout_seconds=LIST_SECONDS)
                await stack.enter_async_context(client)
                self._refresh_requested.clear()
                await self._update_tools(client, starting=not started.done())
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
        """List the tools when they may have changed, and every HEARTBEAT_SECONDS. Raises when the connection is lost."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, client)
            current = True
            while not self._stopping.is_set():
                if current and not self._refresh_requested.is_set():
                    self._ready.set()
                with anyio.move_on_after(HEARTBEAT_SECONDS if current else 0):
                    await self._refresh_requested.wait()
                self._refresh_requested.clear()
                current = self._stopping.is_set() or await self._refresh(client)
            group.cancel_scope.cancel()

    async def _refresh(self, client: Client) -> bool:
        """List the tools. Return False if the server does not answer because it works on a call; raise if it is lost."""
        try:
            with anyio.fail_after(LIST_SECONDS):
                await self._update_tools(client)
        except TimeoutError:
            if not self._calls:
                raise
            return False
        except MCPError as error:
            if error.code != types.REQUEST_TIMEOUT or not self._calls:
                raise
            return False
        return True

    async def _update_tools(self, client: Client, *, starting: bool = False) -> None:
        """List the tools. If the list cannot be used, they stay as they are; at the start ListingError is raised."""
        try:
            self._on_tools(await _list_tools(client, self._label))
        except ListingError as error:
            if starting:
                raise
            if str(error) != self._listing_error:
                logger.warning("%s Its tools stay as they were.", error)
            self._listing_error = str(error)
        else:
            self._listing_error = ""

    async def _listen(self, client: Client) -> None:
        """Subscribe to change notifications. Servers of an older protocol send them unasked (`_on_message`)."""
        while True:
            try:
                async with client.listen(tools_list_changed=True) as events:
                    # A change between the last listing and the subscription has no notification.
                    self._request_refresh()
                    async for _ in events:
                        self._request_refresh()
            except (ListenNotSupportedError, MCPError, TimeoutError):
                return
            except SubscriptionLost:
                self._request_refresh()
            await anyio.sleep(LISTEN_RETRY_SECONDS)

    async def _on_message(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._request_refresh()


async def _list_tools(client: Client, label: str) -> list[types.Tool]:
    """Return the tools of all pages. Raises ListingError, which begins with `label`, if they cannot be read or have no end."""
    tools: list[types.Tool] = []
    cursors: list[str] = []
    num_bytes = 0
    while len(cursors) < MAX_PAGES:
        try:
            page = await client.list_tools(cursor=cursors[-1] if cursors else None)
        except ValidationError as error:
            raise ListingError(
                f"{label}: its MCP server's answer to tools/list cannot be read ({_first_fault(error)})."
            ) from None
        tools += page.tools
        num_bytes += sum(len(tool.model_dump_json()) for tool in page.tools) + len(page.next_cursor or "")
        if num_bytes > MAX_LISTED_BYTES:
            raise ListingError(f"{label}: its MCP server's list of tools is larger than {MAX_LISTED_BYTES // 2**20} MiB.")
        if not page.next_cursor:
            return tools
        if page.next_cursor in cursors:
            raise ListingError(
                f"{label}: its MCP server's list of tools has no end: page {len(cursors) + 1} repeats the nextCursor "
                f"{page.next_cursor[:MAX_CURSOR_CHARACTERS]!r}."
            )
        cursors.append(page.next_cursor)
    raise ListingError(
        f"{label}: its MCP server's list of tools has more than {MAX_PAGES} pages. The last nextCursor is "
        f"{cursors[-1][:MAX_CURSOR_CHARACTERS]!r}."
    )


def _first_fault(error: ValidationError) -> str:
    """Return the place and the reason of the first fault, without the value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _tool_error(error: MCPError) -> ToolError:
    """Return the error that the model reads for an error of the server or the connection."""
    if error.code == types.CONNECTION_CLOSED:
        return TransientError("The tool's server broke off the connection before it had answered.")
    kind = ToolError if error.code in PERMANENT_ERRORS else TransientError
    return kind(f"The tool's server refused the call: {error.message}")


def root_cause(error: BaseException) -> BaseException:
    """Return the first exception within nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
