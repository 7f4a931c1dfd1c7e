"""How many calls of a tool run at the same time, over all requests of the server."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext

from autotool_server.tools.base import Tool


class CallLimits:
    """The places of the tools whose calls are limited. They belong to a name: an MCP server's tools are listed anew."""

    def __init__(self) -> None:
        self._places: dict[str, asyncio.Semaphore] = {}

    def place(self, tool: Tool) -> AbstractAsyncContextManager[None]:
        """Hold one of the tool's places; entering waits until one is free, first come, first served."""
        limit = tool.spec.policy.max_concurrent
        return nullcontext() if limit is None else self._places.setdefault(tool.spec.name, asyncio.Semaphore(limit))
