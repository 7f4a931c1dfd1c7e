"""A circuit breaker: it refuses calls of a server that cannot be reached, so that no client waits for its time-outs."""

import time

from autotool_core.errors import EngineError

MAX_FAILURES = 5
"""Failures in a row after which calls are refused."""
PAUSE_SECONDS = 10.0
"""Time until one call is let through again, whose success ends the refusals."""


class Breaker:
    """Counts the failures of one server."""

    def __init__(self) -> None:
        self._num_failures = 0
        self._refuses_until = 0.0

    def check(self) -> bool:
        """Raise EngineError if the call is to be refused. Return whether it is the one that is let through again."""
        if self._num_failures < MAX_FAILURES:
            return False
        now = time.monotonic()
        if now < self._refuses_until:
            raise EngineError(f"The remote server cannot be reached; it is tried again within {PAUSE_SECONDS:g} seconds.")
        # Others wait for the outcome of this call.
        self._refuses_until = now + PAUSE_SECONDS
        return True

    def abandoned(self) -> None:
        """Note that the call that was let through has been cancelled: the next one takes its place."""
        self._refuses_until = 0.0

    def reached(self) -> None:
        """Note that the server has answered, whatever it was."""
        self._num_failures = 0

    def failed(self) -> None:
        """Note that the server could not be reached, or did not answer in time."""
        self._num_failures += 1
        self._refuses_until = time.monotonic() + PAUSE_SECONDS
