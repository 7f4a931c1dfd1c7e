"""The number of connections is bounded, below the process' limit of descriptors, so that probes are answered in a flood."""

import logging
import resource
import time
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

MAX_DESCRIPTORS = 2**20
"""Descriptors that are enough: programs that a tool starts may close one after the other up to their limit."""
SILENT_SECONDS = 60.0
"""Time between two messages that connections were closed or refused."""


def raise_descriptor_limit() -> None:
    """Raise the process' limit of open files and connections to the one that the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            logger.warning("The limit of open files stays at %d: the system does not let it be raised.", soft)


class Connection(Protocol):
    """A connection, as far as it is counted."""

    def close(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """The connections of a server. Those that wait for a request are closed, the oldest first, to make room for others."""

    def __init__(self, limit: int, on_refused: Callable[[], None]) -> None:
        self._limit = limit
        self._on_refused = on_refused
        self._max_busy = limit - max(1, limit // 16)
        self._busy = set[Connection]()
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self._told_at = -SILENT_SECONDS

    @classmethod
    def of(cls, wanted: int, on_refused: Callable[[], None]) -> "Connections":
        """Return the connections of a server that may have so many, but no more than half of the process' descriptors.

        The other half is for files, tools and, with the remote engine, a connection for every request. `on_refused` is called
        for each one that is closed, or whose request is refused, because there are too many.
        """
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        possible = wanted if soft == resource.RLIM_INFINITY else max(2, soft // 2)
        if possible < wanted:
            message = "Of --max-connections %d only %d are taken: the process may open %d files (ulimit -Hn)."
            logger.warning(message, wanted, possible, soft)
        return cls(min(wanted, possible), on_refused)

    @property
    def num_open(self) -> int:
        """How many there are."""
        return len(self._busy) + len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether so many are busy that those which are left are kept for probes."""
        return len(self._busy) >= self._max_busy

    def add(self, connection: Connection) -> None:
        """Count a new connection, and close the one that has waited longest if it is one too many."""
        self._waiting[connection] = None
        if self.num_open > self._limit:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            self.refused()
            oldest.close()

    def busy(self, connection: Connection) -> None:
        """Keep a connection open: it has a request."""
        self._waiting.pop(connection, None)
        self._busy.add(connection)

    def waits(self, connection: Connection) -> None:
        """Let a connection be closed again: its request has been answered."""
        if connection in self._busy:
            self._busy.remove(connection)
            self._waiting[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._busy.discard(connection)
        self._waiting.pop(connection, None)

    def refused(self) -> None:
        """Count a connection that was closed or refused because there are too many, and say so once in a while."""
        self._on_refused()
        now = time.monotonic()
        if now - self._told_at >= SILENT_SECONDS:
            self._told_at = now
            logger.warning(
                "%d connections are open, and no more may be: idle ones are closed, or requests refused. Raise "
                "--max-connections, or see who opens them.",
                self.num_open,
            )
