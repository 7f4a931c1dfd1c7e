"""The end of running requests when the server stops: they may end by themselves for a while, then they end with an error."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from autotool_server.errors import OverloadedError


class StoppingError(OverloadedError):
    """The server stops, and the request has not been answered to its end."""

    def __init__(self) -> None:
        super().__init__("The server is stopping. Send the request again in a few seconds.")


class Shutdown:
    """Knows the tasks in which requests are decoded."""

    def __init__(self) -> None:
        self._running = set[asyncio.Task[object]]()
        self._is_draining = False
        self.is_cut = False
        """Whether what was running has been ended."""

    @contextmanager
    def cuts(self) -> Iterator[None]:
        """Let `cut` end what runs inside, where it then raises StoppingError."""
        task = asyncio.current_task()
        if task is None or self.is_cut:
            raise StoppingError
        self._running.add(task)
        try:
            yield
        except asyncio.CancelledError:
            # The client may have left at the same moment: then this task is to be cancelled after all.
            if not self.is_cut or task.uncancel() > 0:
                raise
            raise StoppingError from None
        finally:
            self._running.discard(task)

    def drain(self) -> None:
        """Have `drained` wait for what is running."""
        self._is_draining = True

    async def drained(self) -> None:
        """Wait until nothing runs, if the server lets its requests end."""
        while self._is_draining and self._running:
            await asyncio.wait(self._running)

    def cut(self) -> None:
        """End what is running, and all that is started from now on."""
        self.is_cut = True
        for task in self._running:
            task.cancel()
