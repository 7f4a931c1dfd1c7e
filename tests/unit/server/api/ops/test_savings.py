"""What audits say over HTTP, and the feedback that settles them: each key sees, and judges, its own requests."""

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.keys import bearer, client_of, write_keys
from support.serving import MODEL, Running, running, scripted

from autotool_server.api.ops import savings as ops
from autotool_server.api.shutdown import StoppingError
from autotool_server.audit.estimate import savings
from autotool_server.audit.records import Pair

BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "auto"}
LONG, SHORT = "So it is.</think>\n\nYes.", "Yes."


def served(**settings: Any) -> Any:
    """A server whose answers in auto are short."""
    return running(scripted(lambda request: LONG if request.priority else SHORT, log_odds=-50), audit=1, **settings)


async def ask(server: Running, client: httpx.AsyncClient, **options: Any) -> str:
    answer = await client.post("/v1/chat/completions", json=BODY, **options)
    await server.idle()
    await server.state.auditor.settled()
    return answer.json()["id"]


async def feedback(client: httpx.AsyncClient, answer: str, *, solved: bool, **fields: Any) -> dict[str, Any]:
    return (await client.post("/v1/feedback", json={"request_id": answer, "solved": solved, **fields})).json()


async def test_savings_and_feedback() -> None:
    async with served() as server, client_of(server) as client:
        before = (await client.get("/v1/savings")).json()
        ids = [await ask(server, client) for _ in range(4)]
        found = (await client.get("/v1/savings")).json()
        assert await feedback(client, ids[0], solved=False) == {"object": "feedback", "request_id": ids[0], "audited": True}
        assert not (await feedback(client, "chatcmpl-unknown", solved=True))["audited"]
        told = (await client.get("/v1/savings")).json()
    assert before == {"object": "savings", "model": MODEL, "share": 1, "total": None, "by_key": {}}
    total = found["total"]
    assert (total["requests"], total["settled_by"]) == (4, {"form": 4})
    saved = total["against_long"]["tokens_saved"]
    assert saved["low"] == saved["value"] == saved["high"] > 0
    assert total["against_short"]["tokens_saved"]["value"] < 0
    assert total["summary"] == f"auto saved {saved['value']:.1f} ± 0.0 % of tokens, lost 0.0 ± 49.0 points"
    assert told["total"]["settled_by"] == {"feedback": 1, "form": 3}
    assert told["total"]["against_long"]["points_lost"]["value"] == 25


async def test_a_key_sees_and_judges_its_own(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={}, bob={})
    async with served(keys=keys, api_key="own") as server, client_of(server) as client:
        ids = {name: await ask(server, client, headers=bearer(name)) for name in ("alice", "bob", "own")}
        await ask(server, client, headers=bearer("alice"))
        client.headers.update(bearer("bob"))
        assert not (await feedback(client, ids["alice"], solved=False))["audited"]
        assert (await feedback(client, ids["bob"], solved=False))["audited"]
        seen = {name: (await client.get("/v1/savings", headers=bearer(name))).json() for name in ids}
        assert (await client.get("/v1/savings", headers=bearer("mallory"))).status_code == 401
    requests = {name: (found["total"]["requests"], {*found["by_key"]}) for name, found in seen.items()}
    assert requests == {"alice": (2, {"alice"}), "bob": (1, {"bob"}), "own": (4, {"alice", "bob"})}
    lost = {name: found["total"]["against_long"]["points_lost"]["value"] for name, found in seen.items()}
    assert lost == {"alice": 0, "bob": 100, "own": 25}


async def test_faulty_feedback() -> None:
    async with served() as server, client_of(server) as client:
        for body in ({}, {"request_id": "x"}, {"request_id": "x", "solved": "yes"}):
            assert (await client.post("/v1/feedback", json=body)).status_code == 400


async def test_those_who_ask_at_once_share_one_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def estimated(pairs: Sequence[Pair]) -> Any:
        made.append(len(pairs))
        if len(made) == 2:
            raise RuntimeError("the threads have ended")
        return savings(pairs)

    monkeypatch.setattr(ops, "savings", estimated)
    async with served() as server, client_of(server) as client:
        answer = await ask(server, client)
        records, estimates = server.state.auditor.records, server.state.own(ops.Estimates)

        def found() -> Any:
            return estimates.of(None, records.pairs()[None], records.revision, server.state)

        assert len({*map(id, await asyncio.gather(*(found() for _ in range(8))))}) == 1
        assert (await client.get("/v1/savings")).json()["total"]["requests"] == 1
        assert made == [1]
        await feedback(client, answer, solved=False)
        with pytest.raises(RuntimeError, match="ended"):
            await found()
        left = asyncio.create_task(found())
        await asyncio.sleep(0)
        left.cancel()
        assert (await found()).settled_by == {"feedback": 1}
        assert made == [1, 1, 1]


async def test_those_who_wait_are_told_that_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # of which the service has two threads
    begun, release = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        begun.release()
        release.wait()

    async with served() as server, client_of(server) as client:
        await ask(server, client)
        records, estimates, service = server.state.auditor.records, server.state.own(ops.Estimates), server.state.service
        # What has begun keeps its thread, also if nobody waits for it any more.
        busy = [asyncio.create_task(service.texts.run(hold)) for _ in range(2)]
        for _ in busy:
            await asyncio.to_thread(begun.acquire)
        for task in busy:
            task.cancel()
        await asyncio.wait(busy)
        waiting = [
            asyncio.create_task(estimates.of(None, records.pairs()[None], records.revision, server.state)) for _ in range(3)
        ]
        for _ in range(10):
            await asyncio.sleep(0)
        service.close()
        release.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in found] == [StoppingError] * 3
