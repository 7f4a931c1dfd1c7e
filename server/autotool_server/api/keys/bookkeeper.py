"""Brings what keys use to the store of spend, in batches, and asks there whether requests may go on.

All that comes within a few milliseconds is one transaction, so that many requests cost little more than one. Where the store is
lost, the process's memory stands in for it: limits of a minute then hold on each server alone, keys with budgets are refused,
and what is used meanwhile is written when the store is back.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from autotool_server.api.keys.account import Account, Batch, Question
from autotool_server.api.keys.file import Key
from autotool_server.api.metrics import Metrics
from autotool_server.errors import OverloadedError
from autotool_server.state_store.spend import SpendStore
from autotool_server.state_store.use import Use, UseByMode
from autotool_server.state_store.windows import Verdict, day_of

logger = logging.getLogger(__name__)

PACE_SECONDS = 0.05
"""Least time between two batches. The first after a pause does not wait."""
WRITE_SECONDS = 0.2
"""How long what was used waits to be written, if nothing is asked before."""
RENEWAL_SECONDS = 15.0
"""Time between two renewals of what requests in flight have reserved, several of which fit into its lease. What a lost store
does not have is tried again then too."""
TIMEOUT_SECONDS = 5.0
"""How long the store may take before it counts as lost."""
NO_MINUTE = 0
RETRY_SECONDS = 5.0
"""Time before a lost store is tried again."""


class StoreLostError(OverloadedError):
    """What a key has used cannot be known now."""

    def __init__(self) -> None:
        super().__init__("What this key has used cannot be read now. Try again in a few seconds.", "spend_store")


class Bookkeeper:
    """Raises AutoToolError for an address that is none, and for a database of a later version of this server.

    `url`: None keeps all in the process's memory.
    """

    def __init__(self, url: str | None, metrics: Metrics) -> None:
        self._store = SpendStore(url)
        self._stand_in = SpendStore(None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spend")
        self._metrics = metrics
        self._accounts: dict[str, Account] = {}
        self._changed = set[str]()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._renewal: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._last_batch = 0.0
        self._try_again = 0.0
        self._hung: asyncio.Future[list[list[Verdict]]] | None = None
        self.is_at_work = False
        """Whether the thread may still wait for the store after `close`, which would keep the process from ending."""
        try:
            self._store.prepare()
        except SQLAlchemyError as error:
            self._lose(error)

    async def ask(self, key: Key, tokens: int, *, is_further: bool = False) -> Verdict:
        """Return whether a request that may use `tokens` may go on; they are reserved then, until `end`.

        `is_further`: whether it has been let in before, so that only the budgets of the key count.

        Raises StoreLostError for a key with a budget where the store is lost.
        """
        question = Question(tokens, asyncio.get_running_loop().create_future(), is_further)
        account = self._account(key)
        account.questions.append(question)
        if not is_further:  # a request that goes on has the key as it was when it came
            account.key = key
        self._want(0.0)
        try:
            return await question.answer
        except asyncio.CancelledError:
            self._give_back(key, question)
            raise

    def _give_back(self, key: Key, question: Question) -> None:
        """Have given back what is reserved for a client that has left, in the store too."""
        account, answer = self._account(key), question.answer
        # The answer may have come at the same moment.
        is_answered = answer.done() and not answer.cancelled() and not answer.exception()
        if is_answered and answer.result().refused_by is None:
            account.reserved -= question.tokens
        self._want(WRITE_SECONDS)

    def end(self, key: Key, tokens: int, mode: str, use: Use) -> None:
        """Note what a request has used that had reserved `tokens`."""
        self._account(key).end(tokens, day_of(time.time()).date().isoformat(), mode, use)
        self._want(WRITE_SECONDS)

    def withdraw(self, key: Key, tokens: int, minute: int) -> None:
        """Count a request no longer that was let in, had reserved `tokens`, and was counted in a minute (`Verdict.minute`)."""
        self._account(key).withdraw(tokens, minute)
        self._want(WRITE_SECONDS)

    async def use(self, key: Key) -> tuple[UseByMode, UseByMode]:
        """Return what a key has used today and this month, by mode. Raises StoreLostError."""
        await self._write_all()
        if self._is_lost:
            raise StoreLostError
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._thread, self._store.use, key.name, time.time())
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await reading
        except Exception as error:
            self._lose(error)
            raise StoreLostError from None

    async def close(self) -> None:
        """Write what is left, and close the connections."""
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
        if self._accounts:
            await self._write_all()
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
            await asyncio.wait({closing}, timeout=1)
            self.is_at_work = not closing.done()
        self._thread.shutdown(wait=False)

    def _account(self, key: Key) -> Account:
        account = self._accounts.setdefault(key.name, Account(key))
        self._changed.add(key.name)
        return account

    def _want(self, delay: float) -> None:
        """Have a batch written after a delay in seconds, or earlier if another one is wanted earlier."""
        loop = asyncio.get_running_loop()
        due = max(loop.time() + delay, self._last_batch + PACE_SECONDS)
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._timer, self._due = loop.call_at(due, self._start), due

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None and self._changed:
            self._writing = asyncio.create_task(self._write_batch())

    async def _write_all(self) -> None:
        """Write now what there is to write, after the batch that is being written."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        self._start()
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _write_batch(self) -> None:
        loop = asyncio.get_running_loop()
        batches = [self._accounts[name].take() for name in self._changed]
        self._changed.clear()
        try:
            await self._answer(batches)
        except Exception as error:
            logger.exception("what keys use could not be worked out")
            for batch in batches:
                batch.answer(error)
        self._last_batch, self._writing = loop.time(), None
        if self._changed:
            self._want(0.0)
        if self._renewal is None:
            self._renewal = loop.call_later(RENEWAL_SECONDS, self._renew)

    def _renew(self) -> None:
        """Have written again what is reserved, and what a lost store does not have."""
        self._renewal = None
        held = [name for name, account in self._accounts.items() if account.reserved or account.unwritten]
        if held:
            self._changed.update(held)
            self._want(0.0)

    async def _answer(self, batches: Sequence[Batch]) -> None:
        """Bring batches to the store, or to what stands in for it, and answer what they ask."""
        try:
            verdicts = await self._in_store(batches)
        except StoreLostError as lost:
            changes = [batch.change(in_memory=True) for batch in batches]
            verdicts = await asyncio.to_thread(self._stand_in.change, changes, time.time())
            for batch, found in zip(batches, verdicts, strict=True):
                # The store has not counted them in any minute, so that they cannot be withdrawn from one.
                uncounted = [replace(verdict, minute=NO_MINUTE) for verdict in found]
                batch.answer(lost if batch.account.key.has_budget else uncounted)
        else:
            for batch, found in zip(batches, verdicts, strict=True):
                batch.answer(found)

    async def _in_store(self, batches: Sequence[Batch]) -> list[list[Verdict]]:
        """Return the store's verdicts. Raises StoreLostError; what was used is then kept for later."""
        if self._is_lost:
            _restore(batches)
            raise StoreLostError
        changes = [batch.change() for batch in batches]
        writing = asyncio.get_running_loop().run_in_executor(self._thread, self._store.change, changes, time.time())
        await asyncio.wait({writing}, timeout=TIMEOUT_SECONDS)
        if not writing.done():
            self._hung = writing
            writing.add_done_callback(lambda _: self._hung_ended(writing, batches))
            self._lose(TimeoutError())
            raise StoreLostError
        if error := writing.exception():
            _restore(batches)
            self._lose(error)
            raise StoreLostError
        self._found()
        return writing.result()

    @property
    def _is_lost(self) -> bool:
        """Whether the store is not to be asked now."""
        return self._hung is not None or time.monotonic() < self._try_again

    def _hung_ended(self, writing: asyncio.Future[list[list[Verdict]]], batches: Sequence[Batch]) -> None:
        """Have written again what it was about: it may have reserved for requests that were refused meanwhile."""
        self._hung = None
        if writing.cancelled() or writing.exception():
            _restore(batches)
        self._changed.update(batch.account.key.name for batch in batches)
        self._want(RETRY_SECONDS)

    def _lose(self, error: BaseException) -> None:
        self._metrics.spend_store_failures.inc()
        if not self._try_again:
            # The driver's message may hold the address, and so the password.
            logger.error("the spend store is lost (%s): keys with budgets are refused until it is back", type(error).__name__)
        self._metrics.spend_store_up.set(0)
        self._try_again = time.monotonic() + RETRY_SECONDS

    def _found(self) -> None:
        if self._try_again:
            logger.warning("the spend store is back")
            # What is reserved has changed for some that have nothing unwritten.
            self._changed.update(self._accounts)
        self._metrics.spend_store_up.set(1)
        self._try_again = 0.0


def _restore(batches: Sequence[Batch]) -> None:
    for batch in batches:
        batch.restore()
