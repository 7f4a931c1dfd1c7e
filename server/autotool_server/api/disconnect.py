"""A client that leaves takes its work with it."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive


class ClientGoneError(Exception):
    """The client closed the connection; there is nobody to answer."""


async def while_connected(receive: Receive, work: Coroutine[None, None, None]) -> None:
    """Run the work to its end, or cancel it as soon as the client leaves. Raises ClientGoneError then."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        task.result()
    finally:
        # Also when this very task is cancelled: the engine must be free before the slot is.
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
