"""The store of spend is lost, full or slow while the server runs, and two servers share one."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from support.keys import client_of, write_keys
from support.serving import MODEL, Running, running, scripted

from autotool_server.api.keys import bookkeeper
from autotool_server.state_store.spend import SpendStore

ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short", "max_tokens": 20}
BUDGET = {"tokens_per_day": 10_000}
RATES = {"requests_per_minute": 3, "tokens_per_minute": 1000}


@asynccontextmanager
async def serving(folder: Path, **keys: Any) -> AsyncIterator[Running]:
    """Serve with keys and a store of spend."""
    store = f"sqlite:///{folder / 'spend.db'}"
    async with running(scripted("x"), keys=write_keys(folder, **keys), spend_store=store) as server:
        yield server


async def ask(server: Running, key: str) -> Any:
    async with client_of(server, key) as client:
        return await client.post("/v1/chat/completions", json=ASKED)


async def metrics(server: Running) -> str:
    async with client_of(server) as client:
        return (await client.get("/metrics")).text


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While the event is set, the store of the file fails as a full disk does."""
    lost, change = threading.Event(), SpendStore.change
    monkeypatch.setattr(bookkeeper, "RETRY_SECONDS", 0.0)

    def fail(store: SpendStore, *arguments: Any) -> Any:
        if lost.is_set() and store._engine.url.database is not None:
            raise OperationalError("INSERT secret", None, sqlite3.OperationalError("database or disk is full"))
        return change(store, *arguments)

    monkeypatch.setattr(SpendStore, "change", fail)
    return lost


async def test_a_lost_store_refuses_keys_with_budgets_alone_and_is_told(
    tmp_path: Path, lose: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, rich=BUDGET, rated=RATES, free={}) as server:
        assert {(await ask(server, key)).status_code for key in ("rich", "rated", "free")} == {200}
        lose.set()
        with caplog.at_level(logging.WARNING):
            refused = await ask(server, "rich")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "What this key has used cannot be read now" in refused.text
            # Limits of a minute hold from here on alone.
            assert [(await ask(server, "rated")).status_code for _ in range(4)] == [200, 200, 200, 429]
            assert (await ask(server, "free")).status_code == 200
        assert [record.message for record in caplog.records if "spend store" in record.message] == [
            "the spend store is lost (OperationalError): keys with budgets are refused until it is back"
        ]
        assert "autotool_spend_store_up 0.0" in await metrics(server)
        lose.clear()
        with caplog.at_level(logging.WARNING):
            assert (await ask(server, "rich")).status_code == 200
        assert "the spend store is back" in caplog.text
        assert "autotool_spend_store_up 1.0" in await metrics(server)
        # What was used meanwhile is not forgotten.
        for key, requests in (("rich", 2), ("rated", 4), ("free", 2)):
            async with client_of(server, key) as client:
                assert (await client.get("/v1/usage")).json()["today"]["requests"] == requests


async def test_usage_of_a_lost_store_is_503(tmp_path: Path, lose: threading.Event) -> None:
    async with serving(tmp_path, rated=RATES) as server, client_of(server, "rated") as client:
        lose.set()
        server.state.quotas._books._try_again = float("inf")  # pyright: ignore[reportOptionalMemberAccess]
        assert (await client.get("/v1/usage")).status_code == 503


async def test_a_store_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeper, "TIMEOUT_SECONDS", 0.1)
    go_on, change = threading.Event(), SpendStore.change

    def hang(store: SpendStore, *arguments: Any) -> Any:
        if store._engine.url.database is not None:
            go_on.wait(20)
        return change(store, *arguments)

    async with serving(tmp_path, rich=BUDGET, rated=RATES) as server:
        monkeypatch.setattr(SpendStore, "change", hang)
        monkeypatch.setattr(bookkeeper, "RETRY_SECONDS", 0.0)
        assert [(await ask(server, key)).status_code for key in ("rated", "rich", "rated")] == [200, 503, 200]
        go_on.set()
        while (answer := await ask(server, "rich")).status_code == 503:
            pass
        # The hung transaction has reserved tokens for a request that did not use them.
        prompt = answer.json()["usage"]["prompt_tokens"]
        assert 10_000 - prompt - 25 < int(answer.headers["x-ratelimit-remaining-tokens"]) <= 10_000 - prompt - 20


async def test_a_server_starts_without_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeper, "RETRY_SECONDS", 0.0)
    (tmp_path / "spend.db").mkdir()
    async with serving(tmp_path, rich=BUDGET, free={}) as server:
        assert [(await ask(server, key)).status_code for key in ("free", "rich")] == [200, 503]
        (tmp_path / "spend.db").rmdir()
        assert (await ask(server, "rich")).status_code == 200


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, the store does not count as lost."""
    monkeypatch.setattr(bookkeeper, "TIMEOUT_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
async def test_two_servers_never_exceed_a_budget(tmp_path: Path) -> None:
    keys = {"alice": {"tokens_per_day": 300}}
    async with serving(tmp_path, **keys) as one, serving(tmp_path, **keys) as other:
        totals: list[int] = []
        for _ in range(4):
            answers = await asyncio.gather(*(ask(server, "alice") for server in (one, other) for _ in range(5)))
            assert {answer.status_code for answer in answers} <= {200, 429}
            totals += [answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200]
        assert sum(totals) <= 300
        async with client_of(one, "alice") as client, client_of(other, "alice") as second:
            await second.get("/v1/usage")
            assert (await client.get("/v1/usage")).json()["today"]["total_tokens"] == sum(totals)


@pytest.mark.usefixtures("patient")
async def test_two_servers_share_the_requests_of_a_minute(tmp_path: Path) -> None:
    keys = {"alice": {"requests_per_minute": 6}}
    async with serving(tmp_path, **keys) as one, serving(tmp_path, **keys) as other:
        answers = await asyncio.gather(*(ask(server, "alice") for server in (one, other) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] * 6 + [429] * 6
