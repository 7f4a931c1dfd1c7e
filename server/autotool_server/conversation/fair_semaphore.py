"""A semaphore that is shared out fairly: a client that asks a hundred times does not hold up one that asks once."""

import asyncio
from contextvars import ContextVar

from autotool_server.conversation.fair_order import FairOrder, Waiter

CURRENT_CLIENT = ContextVar("CURRENT_CLIENT", default="")
"""Whose request this is, by key or network address: the server's means are shared out fairly between all of these."""


class _Acquirer(Waiter):
    def __init__(self, share: str, priority: int) -> None:
        super().__init__(share, priority)
        self.has_place = asyncio.Event()


class FairSemaphore:
    """As `asyncio.Semaphore`, but with the order of `FairOrder` between those that wait, by the client of each."""

    def __init__(self, value: int) -> None:
        self._free = value
        self._waiting = FairOrder[_Acquirer]()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a place."""
        return len(self._waiting) > 0

    async def acquire(self, priority: int = 0) -> None:
        """Take a place, as soon as this one is the next to have one. Of priorities the lowest number is the best."""
        if self._free:
            self._free -= 1
            return
        waiter = _Acquirer(CURRENT_CLIENT.get(), priority)
        self._waiting.add(waiter)
        try:
            await waiter.has_place.wait()
        except asyncio.CancelledError:
            if waiter.has_place.is_set():
                self.release()
            else:
                self._waiting.remove(waiter)
            raise

    def release(self) -> None:
        """Give a place back: to the one that is next, if any waits."""
        waiter = self._waiting.first()
        if waiter is None:
            self._free += 1
        else:
            self._waiting.take(waiter)
            waiter.has_place.set()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.release()
