"""What the requests of one app share: the seal, the store and the responses that run in the background."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from autotool_core.errors import InvalidRequestError
from autotool_server.api.responses.seal import Seal
from autotool_server.errors import OverloadedError
from autotool_server.settings import Settings

if TYPE_CHECKING:
    from autotool_server.state_store.responses import ResponseStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

RENEWAL_SECONDS = 15
"""Time between two renewals of the leases of running responses, several of which fit into a lease."""

THREADS = 8
"""How much the store does at once. They are its own, so that a store that hangs holds nothing else up."""

LOST = "The store of responses cannot be reached. Try again in a few seconds."
NO_STORE = "This server stores no responses. Start it with a store, such as --response-store sqlite:///responses.db."


class Resources:
    """Made once for an app. Raises AutoToolError if the store cannot be opened."""

    def __init__(self, settings: Settings) -> None:
        self.seal = Seal(settings.seal_key)
        self.running: dict[str, asyncio.Task[None]] = {}
        """The tasks of background responses, by the response's id."""
        self._renewal: asyncio.Task[None] | None = None
        self._store = _open_store(settings)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="responses")

    @property
    def has_store(self) -> bool:
        """Whether responses can be stored."""
        return self._store is not None

    async def use_store(self, work: "Callable[[ResponseStore], T]", field: str | None, status: int = 400) -> T:
        """Return what `work` returns, in a thread.

        Raises InvalidRequestError for `field` where there is no store, OverloadedError where it is lost.
        """
        if self._store is None:
            raise InvalidRequestError(NO_STORE, field, code="no_response_store", status=status)
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 only those who store have the library

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, self._store)
        except SQLAlchemyError as error:
            # The message of the driver may hold the address, and so the password.
            logger.error("the store of responses cannot be reached (%s)", type(error).__name__)  # noqa: TRY400 for that reason
            raise OverloadedError(LOST, "response_store") from None

    def run(self, response_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a response in the background, and renew its lease in the store."""
        task = asyncio.create_task(work)
        self.running[response_id] = task
        task.add_done_callback(lambda _: self.running.pop(response_id, None))
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew())

    async def cancel(self, response_id: str) -> None:
        """End a response that runs in the background here, and wait for its end."""
        if task := self.running.get(response_id):
            # A task that is cancelled before its first step would neither store its end nor free its slot.
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """End what runs in the background, and close the store."""
        for response_id in list(self.running):
            await self.cancel(response_id)
        if self._renewal is not None:
            self._renewal.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    async def _renew(self) -> None:
        """Renew the leases of what runs, for as long as anything does."""
        while self.running:
            await asyncio.sleep(RENEWAL_SECONDS)
            try:
                await self.use_store(lambda store: store.renew(list(self.running)), None)
            except Exception:
                logger.exception("the leases of running responses could not be renewed")


def _open_store(settings: Settings) -> "ResponseStore | None":
    if settings.response_store is None:
        return None
    from autotool_server.state_store.responses import ResponseStore  # noqa: PLC0415 only those who store need the library

    return ResponseStore(settings.response_store, settings.response_ttl_seconds)
