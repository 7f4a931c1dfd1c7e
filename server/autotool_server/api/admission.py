"""Admission: the limits of requests in flight and of their bodies. What one holds is released however it ends."""

import asyncio
from collections import Counter as Counts
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autotool_server.errors import OverloadedError

FREE_SHARE = 4
"""How many slots a key may have for each one that is free."""


class Admission:
    """Counts requests in flight, and the bytes of bodies, and refuses those above the limits."""

    def __init__(self, limit: int, max_body_bytes: int) -> None:
        self._limit = limit
        self._max_body_bytes = max_body_bytes
        self._held = Counts[str]()
        self.in_flight = 0
        self.body_bytes = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextmanager
    def slot(self, key_name: str | None = None) -> Iterator[None]:
        """Hold a slot. Raises OverloadedError if none is free, or if the key has so many that others would find too few.

        A key may have `FREE_SHARE` times as many as are free: the dynamic thresholds of Choudhury and Hahne (IEEE/ACM
        Transactions on Networking 6(2), 1998). One key alone so gets to four fifths, and two to eight ninths together.
        """
        if self.in_flight >= self._limit or self._has_enough(key_name):
            who = "The server is" if self.in_flight >= self._limit else "For this key the server is"
            raise OverloadedError(f"{who} serving as many requests as it may. Try again in a second.", "concurrent_requests")
        self.in_flight += 1
        self._is_idle.clear()
        if key_name is not None:
            self._held[key_name] += 1
        try:
            yield
        finally:
            self._give_back(key_name)

    def _has_enough(self, key_name: str | None) -> bool:
        return key_name is not None and self._held[key_name] >= FREE_SHARE * (self._limit - self.in_flight)

    def _give_back(self, key_name: str | None) -> None:
        if key_name is not None:
            self._held[key_name] -= 1
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
                raise OverloadedError(
                    "The server holds as many bytes of requests as it may. Try again in a second.", "body_bytes"
                )
            self.body_bytes += count
            held += count

        try:
            yield grow
        finally:
            self.body_bytes -= held

    async def idle(self) -> None:
        """Wait until no slot is held."""
        await self._is_idle.wait()
