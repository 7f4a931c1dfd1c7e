"""A semaphore that is shared out fairly: a client that asks a hundred times does not hold up one that asks once."""

import asyncio
from contextvars import ContextVar

from autotool_server.conversation.fair_order import FairOrder, Waiter

SHARE = ContextVar("SHARE", default="")
"""Who is served: the shares between which a server's means are shared out fairly."""


class _Acquirer(Waiter):
    def __init__(self, share: str) -> None:
        super().__init__(share)
        self.has_turn = asyncio.Event()


class FairSemaphore:
    """As `asyncio.Semaphore`, but with the order of `FairOrder` between those that wait, by the `SHARE` of each."""

    def __init__(self, value: int) -> None:
        self._free = value
        self._waiting = FairOrder[_Acquirer]()

    async def acquire(self) -> None:
        """Take a place, as soon as it is this one's turn."""
        if self._free:
            self._free -= 1
            return
        waiter = _Acquirer(SHARE.get())
        self._waiting.add(waiter)
        try:
            await waiter.has_turn.wait()
        except asyncio.CancelledError:
            if waiter.has_turn.is_set():
                self.release()
            else:
                self._waiting.remove(waiter)
            raise

    def release(self) -> None:
        """Give a place back: to the one whose turn is next, if any waits."""
        waiter = self._waiting.first()
        if waiter is None:
            self._free += 1
        else:
            self._waiting.take(waiter)
            waiter.has_turn.set()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.release()
