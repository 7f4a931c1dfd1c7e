"""A circuit breaker: it refuses calls of a service that does not answer, so that nobody waits for its time-outs."""

import time
from collections.abc import Generator
from contextlib import contextmanager

MAX_FAILURES = 5
"""Failures in a row after which calls are refused."""
PAUSE_SECONDS = 10.0
"""Time until one call is let through again, whose success ends the refusals."""


class BreakerOpenError(Exception):
    """The call is refused, since those before it have failed."""


class Breaker:
    """Counts the failures of one service. `max_failures`: those in a row after which calls are refused."""

    def __init__(self, max_failures: int = MAX_FAILURES) -> None:
        self._max_failures = max_failures
        self._num_failures = 0
        self._refuses_until = 0.0
        self._trial: object | None = None
        """The call that was let through last, if it has no outcome yet."""

    @property
    def is_open(self) -> bool:
        """Whether the service has failed, and has not answered since."""
        return self._num_failures >= self._max_failures

    @property
    def refuses(self) -> bool:
        """Whether a call would be refused now."""
        return self.is_open and time.monotonic() < self._refuses_until

    @contextmanager
    def attempt(self) -> Generator[None]:
        """Let one call through. Raises BreakerOpenError if it is refused.

        The call notes its outcome with `reached` or `failed`. One that notes none, as a cancelled one, says nothing about the
        service, and the next call is let through in its place.
        """
        if self.refuses:
            raise BreakerOpenError
        trial = object() if self.is_open else None
        if trial is not None:  # others are refused until it has an outcome
            self._trial, self._refuses_until = trial, time.monotonic() + PAUSE_SECONDS
        try:
            yield
        finally:
            if trial is not None and self._trial is trial:
                self._refuses_until = 0.0

    def reached(self) -> None:
        """Note that the service has answered, whatever it was."""
        self._num_failures = 0
        self._trial = None

    def failed(self) -> None:
        """Note that the service could not be reached, or did not answer in time."""
        self._num_failures += 1
        self._trial = None
        self._refuses_until = time.monotonic() + PAUSE_SECONDS
