"""Admission: the limit of requests in flight. A slot is released however its request ends."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from autotool_server.errors import OverloadedError


class Admission:
    """Counts requests in flight and refuses those above the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot. Raises OverloadedError if none is free."""
        if self.in_flight >= self._limit:
            raise OverloadedError("The server is serving as many requests as it may. Try again in a second.")
        self.in_flight += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self._is_idle.set()

    async def idle(self) -> None:
        """Wait until no slot is held."""
        await self._is_idle.wait()
