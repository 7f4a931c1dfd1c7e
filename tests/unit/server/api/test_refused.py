"""Refusals because the server has too much to do or is not ready: every kind is counted, by its reason."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy.exc import OperationalError
from support.engines import until
from support.keys import client_of, write_keys
from support.serving import MODEL, Running, held, running, scripted

from autotool_server.conversation import schema_workers
from autotool_server.engines.base import Capacity
from autotool_server.state_store.responses import ResponseStore
from autotool_server.state_store.spend import SpendStore

ROOT = Path(__file__).parents[4]
CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short", "max_tokens": 20}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def counted() -> Mapping[str, float]:
    """Return the refusals of this process by reason."""
    (family,) = [family for family in REGISTRY.collect() if family.name == "autotool_requests_refused"]
    return {sample.labels["reason"]: sample.value for sample in family.samples if sample.name.endswith("_total")}


def _change_in_memory(change: Callable[..., Any], store: SpendStore, *given: Any) -> Any:
    """Fail as a full disk does, but for the store that then stands in."""
    return change(store, *given) if store._engine.url.database is None else fail()


def fail(*_: Any) -> Any:
    raise OperationalError("", None, sqlite3.OperationalError("database or disk is full"))


async def not_ready(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    server.state.withdraw_service("The engine has failed.")
    for probe in ("/health/ready", "/health", "/ping"):  # nobody is refused there
        assert (await client.get(probe)).status_code == 503
    return await client.post(CHAT, json=ASKED)


async def not_ready_to_tokenize(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    server.state.withdraw_service("The engine has failed.")
    return await client.post("/tokenize", json={"model": MODEL, "prompt": "x"})


async def not_ready_to_count(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    server.state.withdraw_service("The engine has failed.")
    return await client.post("/v1/messages/count_tokens", json={"model": MODEL, "messages": ASKED["messages"]})


async def stopping(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    server.state.shutdown.drain()
    return await client.post(CHAT, json=ASKED)


async def no_schema_worker(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    for _ in range(schema_workers.number_of_workers()):
        await server.state.service.schemas.workers._slots.acquire()
    return await client.post(CHAT, json=ASKED | {"response_format": SCHEMA})


async def no_place(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    with server.state.admission.slot(), server.state.admission.slot():
        return await client.post(CHAT, json=ASKED)


async def no_room_for_bodies(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    with server.state.admission.body() as grow:
        grow(server.state.admission._max_body_bytes)
        return await client.post(CHAT, json=ASKED)


async def no_turn(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    engine: Any = server.state.service.engine
    release = held(engine, after=0)
    first = asyncio.create_task(client.post(CHAT, json=ASKED))
    await until(lambda: len(engine.requests) == 1)
    refused = await client.post(CHAT, json=ASKED)
    release.set()
    assert (await first).status_code == 200
    return refused


async def no_responses(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    return await client.get("/v1/responses/resp_1")


async def no_spend(server: Running, client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(CHAT, json=ASKED)


Refuse = Callable[[Running, httpx.AsyncClient], Awaitable[httpx.Response]]
CASES: list[tuple[Refuse, str]] = [
    (not_ready, "not_ready"),
    (not_ready_to_tokenize, "not_ready"),
    (not_ready_to_count, "not_ready"),
    (stopping, "stopping"),
    (no_schema_worker, "schema_workers"),
    (no_place, "concurrent_requests"),
    (no_room_for_bodies, "body_bytes"),
    (no_turn, "queue_seconds"),
    (no_responses, "response_store"),
    (no_spend, "spend_store"),
]


@pytest.mark.parametrize(("refuse", "reason"), CASES, ids=[case[0].__name__ for case in CASES])
async def test_a_refusal_is_counted_once_by_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse, reason: str
) -> None:
    monkeypatch.setattr(schema_workers, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(ResponseStore, "get", fail)
    engine = scripted("x")
    engine.capacity = Capacity(1)
    settings: dict[str, Any] = {"max_queue_seconds": 0.05, "max_concurrent_requests": 2}
    settings["response_store"] = f"sqlite:///{tmp_path / 'responses.db'}"
    if refuse is no_spend:
        change = SpendStore.change
        monkeypatch.setattr(SpendStore, "change", lambda store, *given: _change_in_memory(change, store, *given))
        keys = write_keys(tmp_path, alice={"tokens_per_day": 1000})
        settings |= {"keys": keys, "spend_store": f"sqlite:///{tmp_path / 'spend.db'}"}
    async with running(engine, **settings) as server, client_of(server, "alice") as client:
        before = counted()
        refused = await refuse(server, client)
        assert refused.status_code in (503, 529), refused.text
        added = {name: value - before.get(name, 0) for name, value in counted().items()}
        assert {name: value for name, value in added.items() if value} == {reason: 1}
        page = (await client.get("/metrics")).text
        assert f'autotool_requests_refused_total{{reason="{reason}"}}' in page


def test_the_reference_has_every_reason() -> None:
    reference = (ROOT / "docs/reference/api.md").read_text()
    (row,) = [line for line in reference.splitlines() if line.startswith("| `autotool_requests_refused_total`")]
    for reason in {reason for _, reason in CASES} | {"expected_wait", "connections"}:
        assert f"`{reason}`" in row
