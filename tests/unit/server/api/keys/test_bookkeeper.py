"""Batches, on the event loop that `autotool serve` has."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from autotool_core.api_keys import hash_of
from autotool_server.api.keys import bookkeeper
from autotool_server.api.keys.bookkeeper import Bookkeeper, StoreLostError
from autotool_server.api.keys.file import Key
from autotool_server.api.metrics import Metrics
from autotool_server.launch.command_line import loop_factory
from autotool_server.state_store.spend import LEASE_SECONDS, Change, SpendStore
from autotool_server.state_store.use import Use


def key(name: str, **limits: int) -> Key:
    return Key(name=name, hash=hash_of(name), **limits)  # pyright: ignore[reportArgumentType] limits are numbers


def run(work: Any) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(work)


def test_what_comes_at_once_is_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    written, change = list[int](), SpendStore.change
    monkeypatch.setattr(SpendStore, "change", lambda store, *given: written.append(len(given[0])) or change(store, *given))

    async def work() -> None:
        books = Bookkeeper(None, Metrics())
        keys = [key(name, tokens_per_minute=25) for name in "abc"]
        verdicts = await asyncio.gather(*(books.ask(one, 10) for _ in range(3) for one in keys))
        assert [verdict.refused_by for verdict in verdicts] == [None] * 6 + ["tokens_per_minute"] * 3
        assert written == [3]
        for _ in range(50):
            books.end(keys[0], 0, "auto", Use(1, 2, 3))
        assert (await books.use(keys[0]))[0] == {"auto": Use(50, 100, 150)}
        assert len(written) == 2
        await books.close()

    run(work())


def test_a_client_that_leaves_while_it_asks_reserves_nothing() -> None:
    async def work() -> None:
        books, alice = Bookkeeper(None, Metrics()), key("a", tokens_per_minute=10)
        for steps in range(12):
            asking = asyncio.create_task(books.ask(alice, 10))
            # Before its batch, while it is written, when the answer is there but not taken, and after.
            for _ in range(steps):
                await (asyncio.sleep(0) if steps < 8 else asyncio.sleep(0.002 * steps))
            if not asking.cancel():
                assert asking.result().refused_by is None
                books.end(alice, 10, "auto", Use(1))
            await asyncio.wait({asking})
        assert (await books.ask(alice, 10)).refused_by is None
        await books.close()

    run(work())


def test_the_reservations_of_long_requests_are_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeper, "RENEWAL_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'spend.db'}"
    alice = key("a", tokens_per_day=10)

    async def work() -> None:
        books, other = Bookkeeper(url, Metrics()), Bookkeeper(url, Metrics())
        now = time.time()
        assert (await books.ask(alice, 10)).refused_by is None
        monkeypatch.setattr(time, "time", lambda: now + LEASE_SECONDS - 1)
        await asyncio.sleep(0.2)
        monkeypatch.setattr(time, "time", lambda: now + LEASE_SECONDS + 5)
        assert (await other.ask(alice, 10)).refused_by == "tokens_per_day"
        await books.close()
        await other.close()

    run(work())


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While the event is not set, stores in files hang."""
    go_on, change = threading.Event(), SpendStore.change
    go_on.set()

    def wait(store: SpendStore, *given: Any) -> Any:
        if store._engine.url.database is not None:
            go_on.wait(20)
        return change(store, *given)

    monkeypatch.setattr(SpendStore, "change", wait)
    return go_on


async def until_free(store: SpendStore, alice: Key) -> None:
    """Wait until another server that asks for all may have it."""
    for _ in range(300):
        if store.change([Change(alice.name, alice.limits, asked=[10])], time.time())[0][0].refused_by is None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError


def test_what_a_hung_store_has_reserved_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event
) -> None:
    monkeypatch.setattr(bookkeeper, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(bookkeeper, "RETRY_SECONDS", 0.1)
    url, alice = f"sqlite:///{tmp_path / 'spend.db'}", key("a", tokens_per_day=10)

    async def work() -> None:
        books = Bookkeeper(url, Metrics())
        hang.clear()
        with pytest.raises(StoreLostError):
            await books.ask(alice, 10)
        hang.set()
        await asyncio.get_running_loop().run_in_executor(books._thread, int)  # after the transaction that hung
        await until_free(SpendStore(url), alice)
        await books.close()

    run(work())


def test_what_was_reserved_for_a_client_that_left_meanwhile_is_free_on_other_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event
) -> None:
    monkeypatch.setattr(bookkeeper, "TIMEOUT_SECONDS", 20.0)
    url, alice = f"sqlite:///{tmp_path / 'spend.db'}", key("a", tokens_per_day=10)

    async def work() -> None:
        books = Bookkeeper(url, Metrics())
        hang.clear()
        asking = asyncio.create_task(books.ask(alice, 10))
        for _ in range(50):  # until the batch is on its way, and a little longer
            await asyncio.sleep(0.001)
        assert books._writing is not None
        asking.cancel()
        await asyncio.wait({asking})
        hang.set()
        await until_free(SpendStore(url), alice)
        await books.close()

    run(work())


def test_a_store_that_hangs_at_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event) -> None:
    monkeypatch.setattr(bookkeeper, "TIMEOUT_SECONDS", 0.2)
    alice = key("a", tokens_per_minute=10)

    async def is_at_work_after_close() -> bool:
        books = Bookkeeper(f"sqlite:///{tmp_path / 'spend.db'}", Metrics())
        await books.ask(alice, 10)
        await books.close()
        return books.is_at_work

    async def work() -> None:
        assert not await is_at_work_after_close()
        hang.clear()
        assert await is_at_work_after_close()
        hang.set()

    run(work())
