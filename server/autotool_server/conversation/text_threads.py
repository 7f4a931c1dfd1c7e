"""The threads for large prompts, which take seconds to check, to render and to tokenise, and much memory: few of them."""

import asyncio
import contextvars
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
    """A bounded number of threads, shared out fairly. What waits is dropped when it is cancelled; what has begun runs on."""

    def __init__(self) -> None:
        number = max(2, min(8, (os.cpu_count() or 1) // 2))
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="texts")
        self._free = FairSemaphore(number)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Return a function's result, computed in a thread."""
        context = contextvars.copy_context()
        work = partial(context.run, function, *arguments)
        async with self._free:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Drop what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def run_here(function: Callable[..., T], *arguments: object) -> T:
    """Return a function's result, computed at once: what is small takes less time than handing it to a thread."""
    return function(*arguments)
