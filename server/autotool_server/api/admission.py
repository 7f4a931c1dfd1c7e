"""Admission: the limits of requests in flight and of their bodies. What one holds is released however it ends."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autotool_server.errors import OverloadedError


class Admission:
    """Counts requests in flight, and the bytes of bodies, and refuses those above the limits."""

    def __init__(self, limit: int, max_body_bytes: int) -> None:
        self._limit = limit
        self._max_body_bytes = max_body_bytes
        self.in_flight = 0
        self.body_bytes = 0
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

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Hold the bytes of a body, as it grows: yields what counts further bytes, or raises OverloadedError."""
        held = 0

        def grow(count: int) -> None:
            nonlocal held
            if self.body_bytes + count > self._max_body_bytes:
                raise OverloadedError("The server holds as many bytes of requests as it may. Try again in a second.")
            self.body_bytes += count
            held += count

        try:
            yield grow
        finally:
            self.body_bytes -= held

    async def idle(self) -> None:
        """Wait until no slot is held."""
        await self._is_idle.wait()
