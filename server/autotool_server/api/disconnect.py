"""Cancellation of the work of a client that has disconnected."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client closed the connection."""


async def while_connected(receive: Receive, work: Coroutine[None, None, T]) -> T:
    """Return what the work returns. If the client disconnects first, cancel the work and raise ClientGoneError."""
    task = asyncio.create_task(work)
    disconnected = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((task, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        # Also if this task is cancelled: the engine must be free before the slot is.
        task.cancel()
        disconnected.cancel()
        await asyncio.gather(task, disconnected, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
