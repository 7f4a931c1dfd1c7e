"""MCP servers as processes, and the sources of their tools."""

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.mcp import McpEntry, McpSource, McpTool
from support import mcp_servers
from support.engines import until

SCRIPT = mcp_servers.__file__
TOKEN = "token-of-the-server"
SECRETS = Secrets({"TOKEN": TOKEN})
SUM = {"a": 1, "b": 2}
"""Arguments of the tool `add`."""
WAYS = [(way, era) for way in ("stdio", "http") for era in ("2025", "2026")]
"""Every transport in every version of the protocol."""

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = itertools.count(20_000 + 500 * WORKER)
"""Ports of this test process alone."""


@dataclass
class Served:
    """A test server and the source of its tools."""

    entry: McpEntry
    folder: Path
    source: McpSource = field(init=False)

    def __post_init__(self) -> None:
        self.source = McpSource("t", self.entry, SECRETS)

    def tool(self, name: str) -> McpTool:
        """Return the current tool of this name on the server."""
        return next(tool for tool in self.source.tools if tool.remote_name == name)

    async def call(self, name: str, **arguments: Any) -> str:
        """Call a tool, with a time limit that covers a reconnect."""
        async with asyncio.timeout(20):
            return await self.tool(name).call(arguments)


def alive(pid: int) -> bool:
    """Return whether the process runs and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def free_port() -> int:
    """Return a free port of the loopback address.

    It is none of those that the system gives out: a server of another test process could get it before ours listens.
    """
    return next(port for port in PORTS if not listens(port))


def listens(port: int) -> bool:
    """Return whether a server listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class HttpServer:
    """An MCP server on a port, restarted when it dies, as by a supervisor."""

    def __init__(self, era: str, folder: Path) -> None:
        self.port = free_port()
        self._command = [sys.executable, SCRIPT, str(self.port), era, str(folder)]
        self._start()

    async def supervise(self) -> None:
        """Restart the server when it dies, until cancelled."""
        while True:
            if self._process.poll() is not None:
                self._start()
            await asyncio.sleep(0.05)

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def kill(self) -> None:
        """Kill the server."""
        self._process.kill()
        self._process.wait()


@asynccontextmanager
async def serve(transport: str, era: str, folder: Path) -> AsyncIterator[Served]:
    """Serve and start the source of the server's tools."""
    async with AsyncExitStack() as stack:
        if transport == "http":
            entry = await stack.enter_async_context(over_http(era, folder))
        else:
            entry = McpEntry(command=[sys.executable, SCRIPT, "stdio", era, str(folder)])
        served = Served(entry, folder)
        stack.push_async_callback(served.source.stop)
        await served.source.start()
        yield served


@asynccontextmanager
async def over_http(era: str, folder: Path) -> AsyncIterator[McpEntry]:
    """Serve over HTTP."""
    server = HttpServer(era, folder)
    supervisor = asyncio.create_task(server.supervise())
    try:
        await until(lambda: listens(server.port))
        yield McpEntry(url=f"http://127.0.0.1:{server.port}/mcp")
    finally:
        supervisor.cancel()
        server.kill()


async def started(entry: McpEntry, folder: Path) -> Served:
    """Start the source of an entry."""
    served = Served(entry, folder)
    await served.source.start()
    return served


def stdio(folder: Path, **more: Any) -> McpEntry:
    """Return an entry of a stdio server."""
    return McpEntry(command=[sys.executable, SCRIPT, "stdio", "2026", str(folder)], **more)
