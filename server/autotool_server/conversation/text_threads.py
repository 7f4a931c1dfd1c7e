"""Where prompts are checked, rendered and tokenised: small ones on the event loop, large ones in threads."""

import asyncio
import contextvars
import itertools
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from autotool_server.conversation.fair_semaphore import FairSemaphore

T = TypeVar("T")


class Run(Protocol):
    """Runs a function, here or in a thread."""

    def __call__(self, function: Callable[..., T], *arguments: object) -> Awaitable[T]: ...


class TextThreads:
    """A bounded number of threads, and the event loop, both shared out fairly.

    A large prompt takes seconds and much memory. What waits is dropped when it is cancelled; what has begun runs on.
    """

    def __init__(self) -> None:
        number = max(2, min(8, (os.cpu_count() or 1) // 2))
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="texts")
        self._free = FairSemaphore(number)
        self._free_loop = FairSemaphore(1)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Return a function's result, computed in a thread."""
        context = contextvars.copy_context()
        work = partial(context.run, function, *arguments)
        async with self._free:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def on_loop(self) -> Run:
        """Return what runs the work on a small prompt, on the event loop: that takes less time than handing it to a thread.

        A turn of the loop runs one piece of work. In a burst of requests new connections, probes of health and streams come in
        between. A request that has begun is worked on before those that have not.
        """
        pieces = itertools.count()

        async def run(function: Callable[..., T], *arguments: object) -> T:
            await self._free_loop.acquire(priority=-next(pieces))
            try:
                return function(*arguments)
            finally:
                self._release_loop()

        return run

    def _release_loop(self) -> None:
        """Let the next piece of work begin in the next turn of the loop."""
        if self._free_loop.is_awaited:
            self._free_loop.release()  # the one that waits is woken in the next turn
        else:
            asyncio.get_running_loop().call_soon(self._free_loop.release)

    def close(self) -> None:
        """Drop what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)
