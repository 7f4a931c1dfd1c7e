"""The end of requests when the server stops: new ones are refused, running ones may end by themselves, then with an error."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from autotool_server.errors import OverloadedError


class StoppingError(OverloadedError):
    """The server stops, and the request has not been answered to its end."""

    def __init__(self) -> None:
        super().__init__("The server is stopping. Send the request again in a few seconds.", "stopping")


class _Limit:
    """A moment of the stop: it ends the tasks that have registered, and all that come after it."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[object]]()
        self.is_past = False

    @contextmanager
    def ends(self) -> Iterator[None]:
        """Let the moment end what runs inside, where it then raises StoppingError."""
        task = asyncio.current_task()
        if task is None or self.is_past:
            raise StoppingError
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            # The client may have left at the same moment: then this task is to be cancelled after all.
            if not self.is_past or task.uncancel() > 0:
                raise
            raise StoppingError from None
        finally:
            self._tasks.discard(task)

    def come(self) -> None:
        """End what is registered, and all that is started from now on."""
        self.is_past = True
        for task in self._tasks:
            task.cancel()


class Shutdown:
    """Knows the tasks of requests, by the moment of the stop that ends them."""

    def __init__(self) -> None:
        self._drain = _Limit()
        self._cut = _Limit()
        self.arrives = self._drain.ends
        """Surrounds what belongs to a request that is not here in full: `drain` ends it."""
        self.cuts = self._cut.ends
        """Surrounds what belongs to a request that is: `cut` ends it."""
        self.drain = self._drain.come
        """Take no new requests. Those whose body is still on its way are new."""
        self.cut = self._cut.come
        """End running requests."""

    @property
    def is_draining(self) -> bool:
        """Whether new requests are refused."""
        return self._drain.is_past

    @property
    def is_cut(self) -> bool:
        """Whether what was running has been ended."""
        return self._cut.is_past

    def refuse_if_draining(self) -> None:
        """Raise StoppingError if new requests are refused."""
        if self.is_draining:
            raise StoppingError
