"""When the calls of a tool may run, over all requests: how many at a time and a minute, and none while it fails."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from autotool_server.breaker import Breaker, BreakerOpenError
from autotool_server.tools.base import Policy, Tool
from autotool_server.tools.results import Outcome, Result, rejection

MINUTE = 60.0
TOO_MANY = "This tool has been called as often as it may in a minute. Answer with what you have."
UNAVAILABLE = "This tool is unavailable now: its last calls failed. Answer with what you have."


class Rate:
    """A limit of the starts in any 60 seconds. Waiting calls have their start reserved, first come, first served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._starts = deque[float]()

    async def wait(self, longest: float) -> bool:
        """Wait until a call may start. Return False at once if that takes longer than `longest` seconds."""
        now = time.monotonic()
        start = max(now, self._next())
        if start - now > longest:
            return False
        self._starts.append(start)
        try:
            await asyncio.sleep(start - now)
        except asyncio.CancelledError:
            self._starts.remove(start)
            raise
        return True

    def _next(self) -> float:
        """Return the earliest start of a further call. Those after a cancelled one keep their start."""
        while self._starts and self._starts[0] <= time.monotonic() - MINUTE:
            self._starts.popleft()
        if len(self._starts) < self._limit:
            return self._starts[-1] if self._starts else 0.0
        return max(self._starts[-self._limit] + MINUTE, self._starts[-1])


class CallLimits:
    """The limits of all tools. They belong to a name: an MCP server's tools are listed anew."""

    def __init__(self) -> None:
        self._places: dict[str, asyncio.Semaphore] = {}
        self._rates: dict[str, Rate] = {}
        self.breakers: dict[str, Breaker] = {}
        """Those of the tools that have been called and may be refused, by name."""

    async def run(self, tool: Tool, work: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of a call that runs as soon as it may, or of one that is refused.

        A call waits for its place as long as its request lasts, and for the rate as long as the tool's time-out.
        """
        name, policy = tool.spec.name, tool.spec.policy
        breaker = self.breakers.setdefault(name, Breaker(policy.max_failures)) if policy.max_failures else None
        # Also before the wait: a call that will be refused holds up nobody.
        if breaker is not None and breaker.refuses:
            return rejection(Outcome.UNAVAILABLE, UNAVAILABLE)
        async with self._place(name, policy):
            if not await self._may_start(name, policy):
                return rejection(Outcome.RATE_LIMITED, TOO_MANY)
            return await work() if breaker is None else await _watched(breaker, work)

    def _place(self, name: str, policy: Policy) -> AbstractAsyncContextManager[None]:
        """Hold one of the tool's places; entering waits until one is free, first come, first served."""
        limit = policy.max_concurrent
        return nullcontext() if limit is None else self._places.setdefault(name, asyncio.Semaphore(limit))

    async def _may_start(self, name: str, policy: Policy) -> bool:
        limit = policy.calls_per_minute
        return limit is None or await self._rates.setdefault(name, Rate(limit)).wait(policy.timeout)


async def _watched(breaker: Breaker, work: Callable[[], Awaitable[Result]]) -> Result:
    """Run a call, and count how it ended, unless the tool has failed too often."""
    try:
        with breaker.attempt():
            result = await work()
            if result.reached is not None:
                (breaker.reached if result.reached else breaker.failed)()
            return result
    except BreakerOpenError:
        return rejection(Outcome.UNAVAILABLE, UNAVAILABLE)
