"""Servers that share the limits of keys by PostgreSQL, which is stopped and started again under them."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from support import postgresql
from support.keys import client_of, write_keys
from support.postgresql import database
from support.serving import MODEL, Running, running, scripted

from autotool_server.api.keys import bookkeeper
from autotool_server.state_store.database import make_engine
from autotool_server.state_store.spend import Change, SpendStore, read_use
from autotool_server.state_store.windows import Limits

pytestmark = postgresql.NEEDED
__all__ = ["database"]

ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short", "max_tokens": 20}


async def ask(server: Running, key: str) -> Any:
    async with client_of(server, key) as client:
        return await client.post("/v1/chat/completions", json=ASKED)


async def test_servers_never_exceed_a_common_budget(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeper, "TIMEOUT_SECONDS", 60.0)
    keys = write_keys(tmp_path, alice={"tokens_per_month": 600}, rated={"requests_per_minute": 7})
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(running(scripted("one two three " * 9), keys=keys, spend_store=database))
            for _ in range(3)
        ]
        totals = list[int]()
        for _ in range(3):
            answers = await asyncio.gather(*(ask(server, "alice") for server in servers for _ in range(6)))
            assert {answer.status_code for answer in answers} <= {200, 429}
            totals += [answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200]
        assert 600 - 2 * max(totals) < sum(totals) <= 600
        answers = await asyncio.gather(*(ask(server, "rated") for server in servers for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 5
        for server in servers:
            async with client_of(server, "alice") as client:
                await client.get("/v1/usage")  # writes what this server has
        async with client_of(servers[0], "alice") as client:
            assert (await client.get("/v1/usage")).json()["this_month"]["total_tokens"] == sum(totals)
    *_, month = read_use(database, time.time()).values()
    assert {key: sum(use.tokens for use in by_mode.values()) for key, by_mode in month.items()}["alice"] == sum(totals)


async def test_a_database_that_is_stopped_refuses_keys_with_budgets_alone(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "RETRY_SECONDS", 0.0)
    keys = write_keys(tmp_path, bob={"tokens_per_day": 10_000}, free={})
    async with running(scripted("x"), keys=keys, spend_store=database) as server:
        assert [(await ask(server, key)).status_code for key in ("bob", "free")] == [200, 200]
        await asyncio.to_thread(postgresql.stop, database)
        assert [(await ask(server, key)).status_code for key in ("bob", "free", "free")] == [503, 200, 200]
        await asyncio.to_thread(postgresql.start, database)
        assert (await ask(server, "bob")).status_code == 200
        async with client_of(server, "free") as client:
            assert (await client.get("/v1/usage")).json()["today"]["requests"] == 3


def test_servers_share_what_is_withdrawn(database: str) -> None:
    one, other = SpendStore(database), SpendStore(database)
    now, limits = 1_800_000_010.0, Limits(2)
    minute = one.change([Change("a", limits, asked=[1, 1])], now)[0][0].minute
    assert other.change([Change("a", limits, asked=[1])], now + 1)[0][0].refused_by == "requests_per_minute"
    one.change([Change("a", limits, withdrawn={minute: 2})], now + 60)
    verdicts = other.change([Change("a", limits, asked=[1, 1, 1])], now + 60)[0]
    assert [verdict.refused_by for verdict in verdicts] == [None, None, "requests_per_minute"]
    one.change([Change("a", limits, asked=[1], withdrawn={minute: 1, minute + 1: 1})], now + 61)
    for store in (one, other):
        store.close()


def test_no_statement_waits_for_ever_unless_the_address_says_so(database: str) -> None:
    def timeouts(url: str) -> list[str | None]:
        engine, names = make_engine(url, "spend_store"), ("lock", "statement", "idle_in_transaction_session")
        with engine.connect() as connection:
            found = [connection.scalar(text(f"SHOW {name}_timeout")) for name in names]
        engine.dispose()
        return found

    assert timeouts(database) == ["4s", "10s", "10s"]
    assert timeouts(f"{database}&options=-c%20statement_timeout%3D7s") == ["0", "7s", "0"]
