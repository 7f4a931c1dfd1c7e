"""How much a key may use: rates, requests at once, budgets, and what its holder is told."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.engines import until
from support.keys import bearer, client_of, write_keys
from support.serving import MODEL, Running, failing, held, running, scripted

from autotool_core.profile import BUILTIN
from autotool_server.engines.base import Capacity
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.state_store.spend import SpendStore

ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short", "max_tokens": 20}
PATHS = {
    "/v1/chat/completions": ASKED,
    "/v1/messages": ASKED,
    "/v1/responses": {"model": MODEL, "input": "?", "mode": "short", "max_output_tokens": 20},
    "/v1/completions": {"model": MODEL, "prompt": "?", "max_tokens": 20},
}


@asynccontextmanager
async def serving(folder: Path, engine: ScriptedEngine, **limits: Any) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """Serve with a key `alice` that has limits, and a store of spend."""
    keys = write_keys(folder, alice=limits, bob={})
    async with (
        running(engine, keys=keys, spend_store=f"sqlite:///{folder / 'spend.db'}") as server,
        client_of(server, "alice") as client,
    ):
        yield server, client


async def used(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/v1/usage")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", PATHS)
async def test_more_requests_than_in_a_minute_are_429_in_the_protocols_shape(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path, scripted("x"), requests_per_minute=2) as (server, client):
        for left in (1, 0):
            answer = await client.post(path, json=PATHS[path])
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-ratelimit-limit-requests"] == "2"
            assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
            assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        for _ in range(2):  # the second is refused before its body is read
            refused = await client.post(path, json=PATHS[path])
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 120
            assert refused.headers["x-ratelimit-remaining-requests"] == "0"
            error = refused.json()["error"]
            kind = "rate_limit_error" if path == "/v1/messages" else "requests"
            assert (error["type"], "requests_per_minute" in error["message"]) == (kind, True)
        # Others are not held up.
        assert (await client.post(path, json=PATHS[path], headers=bearer("bob"))).status_code == 200
        assert 'autotool_requests_limited_total{limit="requests_per_minute"} 2.0' in (await client.get("/metrics")).text
        await server.idle()


async def test_streams_have_the_headers_too(tmp_path: Path) -> None:
    async with serving(tmp_path, scripted("x"), requests_per_minute=9, tokens_per_minute=1000) as (_, client):
        answer = await client.post("/v1/chat/completions", json=ASKED | {"stream": True})
        assert answer.text.endswith("data: [DONE]\n\n")
        assert answer.headers["x-ratelimit-remaining-requests"] == "8"
        assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
        assert 900 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 980


async def test_no_more_requests_at_once_than_allowed(tmp_path: Path) -> None:
    engine = scripted("one two three")
    release = held(engine, after=0)
    async with serving(tmp_path, engine, concurrent_requests=2) as (server, client):
        running_ones = [asyncio.create_task(client.post("/v1/chat/completions", json=ASKED)) for _ in range(2)]
        await until(lambda: len(engine.requests) == 2)
        for path in ("/v1/chat/completions", "/v1/messages/count_tokens"):
            refused = await client.post(path, json=ASKED)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "concurrent_requests" in refused.json()["error"]["message"]
        running_ones.pop().cancel()  # a client that leaves gives its place back
        await until(lambda: server.state.admission.in_flight == 1)
        running_ones.append(asyncio.create_task(client.post("/v1/chat/completions", json=ASKED)))
        await asyncio.sleep(0)
        release.set()
        assert {(await task).status_code for task in running_ones} == {200}
        await server.idle()
        assert (await client.post("/v1/chat/completions", json=ASKED)).status_code == 200


async def test_what_is_not_used_is_given_back(tmp_path: Path) -> None:
    async with serving(tmp_path, scripted("x"), tokens_per_day=80) as (_, client):
        first = await client.post("/v1/chat/completions", json=ASKED)
        spent = first.json()["usage"]["total_tokens"]
        assert spent < 30
        second = await client.post("/v1/chat/completions", json=ASKED)
        prompt = second.json()["usage"]["prompt_tokens"]
        # The reservation is the prompt, max_tokens, and the marker that may close a think block.
        assert 80 - spent - prompt - 25 < int(second.headers["x-ratelimit-remaining-tokens"]) <= 80 - spent - prompt - 20
        assert (await used(client))["today"]["total_tokens"] == 2 * spent


async def test_a_budget_is_never_exceeded_whatever_comes_at_once(tmp_path: Path) -> None:
    # Every answer takes all that it may.
    async with serving(tmp_path, scripted("one two three four five six " * 9), tokens_per_day=200) as (server, client):
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=ASKED) for _ in range(20)))
        totals = [answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200]
        assert 200 - max(totals) < sum(totals) <= 200
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "insufficient_quota"
        await server.idle()
        assert (await used(client))["today"]["total_tokens"] == sum(totals)
        refused = await client.post("/v1/chat/completions", json=ASKED)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 5) == (429, True)


async def test_a_key_whose_budget_is_reserved_is_not_refused_once_it_is_given_back(tmp_path: Path) -> None:
    async with serving(tmp_path, engine := scripted("x"), tokens_per_day=200) as (server, client):
        first = await client.post("/v1/chat/completions", json=ASKED)
        # Of 200, less what was used, less what is reserved besides max_tokens: the whole rest of the budget.
        rest = 20 + int(first.headers["x-ratelimit-remaining-tokens"]) - first.json()["usage"]["total_tokens"]
        release = held(engine, after=0)
        running_one = asyncio.create_task(client.post("/v1/chat/completions", json=ASKED | {"max_tokens": rest}))
        await until(lambda: len(engine.requests) == 2)
        refused = await client.post("/v1/chat/completions", json=ASKED)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
        release.set()
        assert (await running_one).status_code == 200
        await server.idle()
        assert (await client.post("/v1/chat/completions", json=ASKED)).status_code == 200


async def test_a_request_that_never_fits_is_a_400_that_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, scripted("x"), tokens_per_minute=50) as (_, client):
        for more in ({"max_tokens": 50}, {"max_tokens": 20, "n": 3}, {"max_tokens": None}):
            refused = await client.post("/v1/chat/completions", json=ASKED | more)
            assert refused.status_code == 400
            assert "50 a minute (tokens_per_minute). Ask for fewer." in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("more", "settings", "limits"),
    [
        ({}, {}, 4096),
        ({}, {"default_max_tokens": 1000}, 1000),
        ({"n": 2}, {}, 2 * 4096),
        ({"max_tokens": 300}, {}, 300),
        ({"mode": "long"}, {}, 4096),
        ({"mode": "long", "max_reasoning_tokens": 500}, {}, 4096 + 500),
        ({"mode": "long", "max_tokens": 300, "max_reasoning_tokens": 500}, {}, 300 + 500),
        # Reasoning that the request does not limit itself is not reserved.
        ({"mode": None, "reasoning_effort": "medium"}, {}, 4096),
        ({"mode": "long"}, {"default_max_reasoning_tokens": 500}, 4096),
    ],
)
async def test_what_a_request_reserves(tmp_path: Path, more: dict[str, Any], settings: dict[str, Any], limits: int) -> None:
    """docs/guides/keys.md, "How large a limit must be"."""
    (engine := scripted("x")).max_model_len = 20_000
    keys = write_keys(tmp_path, alice={"tokens_per_minute": 1})
    async with running(engine, BUILTIN["qwen3"], keys=keys, **settings) as server, client_of(server, "alice") as client:
        answer = await client.post("/v1/chat/completions", json={**ASKED, "max_tokens": None, **more})
        assert answer.json()["error"]["code"] == "request_too_large_for_key"
        reserved = int(re.findall(r"may use ([\d,]+) tokens", answer.json()["error"]["message"])[0].replace(",", ""))
        # Besides them the prompt, and for each answer the markers that may have to be injected.
        assert limits < reserved < limits + 60


async def test_usage_is_told_by_mode_and_only_to_the_key_itself(tmp_path: Path) -> None:
    engine = scripted("Hm.\n</think>\n\nYes.")
    async with serving(tmp_path, engine, tokens_per_month=10_000, requests_per_minute=99) as (_, client):
        totals = dict[str, int]()
        for mode in ("long", "short", "auto"):
            answer = await client.post("/v1/chat/completions", json=ASKED | {"mode": mode})
            totals[mode] = answer.json()["usage"]["total_tokens"]
        answer = await client.post("/v1/completions", json=PATHS["/v1/completions"])
        totals["plain"] = answer.json()["usage"]["total_tokens"]
        found = await used(client)
        assert (found["key"], found["limits"]) == ("alice", {"tokens_per_month": 10_000, "requests_per_minute": 99})
        for period in ("today", "this_month"):
            by_mode = {mode: figures["total_tokens"] for mode, figures in found[period]["by_mode"].items()}
            assert by_mode == totals
            assert (found[period]["requests"], found[period]["total_tokens"]) == (4, sum(totals.values()))
            assert found[period]["prompt_tokens"] + found[period]["completion_tokens"] == sum(totals.values())
        assert found["this_month"]["since"].endswith("-01")
        assert (await client.get("/v1/usage", headers=bearer("bob"))).json()["today"]["requests"] == 0


async def test_without_a_keys_file_there_is_no_usage() -> None:
    async with running(scripted("x"), api_key="own") as server, client_of(server, "own") as client:
        answer = await client.get("/v1/usage")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_usage")


async def test_an_answer_that_the_engine_fails_costs_no_tokens_and_one_that_its_client_leaves_does(tmp_path: Path) -> None:
    async with serving(tmp_path, engine := scripted("one two three"), tokens_per_day=1000) as (server, client):
        failing(engine)
        assert (await client.post("/v1/chat/completions", json=ASKED)).status_code == 503
        assert (await used(client))["today"]["total_tokens"] == 0
        held(engine, after=2)
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/chat/completions", json=ASKED, timeout=0.5)
        await server.idle()
        figures = (await used(client))["today"]
        assert (figures["requests"], figures["completion_tokens"]) == (2, 2)
        assert figures["prompt_tokens"] > 0
        # Nothing of what it had reserved is left.
        engine.gate = None
        answer = await client.post("/v1/chat/completions", json=ASKED)
        left = 1000 - figures["total_tokens"] - answer.json()["usage"]["prompt_tokens"] - 20
        assert left - 5 < int(answer.headers["x-ratelimit-remaining-tokens"]) <= left


async def test_background_responses_are_counted(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"requests_per_minute": 9})
    store = f"sqlite:///{tmp_path / 'all.db'}"
    async with (
        running(scripted("x"), keys=keys, spend_store=store, response_store=store) as server,
        client_of(server, "alice") as client,
    ):
        answer = await client.post("/v1/responses", json=PATHS["/v1/responses"] | {"background": True})
        assert answer.json()["status"] == "queued"
        await server.idle()
        assert json.loads((await client.get("/v1/usage")).text)["today"]["requests"] == 1


async def test_a_background_response_that_the_end_of_the_server_ends_is_counted(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"requests_per_minute": 9})
    store = f"sqlite:///{tmp_path / 'all.db'}"
    held(engine := scripted("one two three"), after=1)
    async with (
        running(engine, keys=keys, spend_store=store, response_store=store) as server,
        client_of(server, "alice") as client,
    ):
        await client.post("/v1/responses", json=PATHS["/v1/responses"] | {"background": True})
        await until(lambda: len(engine.requests) == 1)
    used_today, _ = SpendStore(store).use("alice", time.time())
    assert [use.requests for use in used_today.values()] == [1]


@asynccontextmanager
async def with_full_queue(folder: Path, seconds: float, **limits: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve while a request of bob's takes the only place, which it leaves at the end."""
    engine = scripted("x")
    engine.capacity = Capacity(1)
    release = held(engine, after=0)
    keys = write_keys(folder, alice=limits, bob={})
    async with running(engine, keys=keys, max_queue_seconds=seconds) as server, client_of(server, "alice") as client:
        first = asyncio.create_task(client.post("/v1/chat/completions", json=ASKED, headers=bearer("bob")))
        await until(lambda: len(engine.requests) == 1)
        yield client
        release.set()
        assert (await first).status_code == 200
        answer = await client.post("/v1/chat/completions", json=ASKED)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-remaining-requests"] == str(limits["requests_per_minute"] - 1)
        assert (await used(client))["today"]["requests"] == 1


@pytest.mark.parametrize("seconds", [0, 0.05], ids=["at once", "after waiting"])
async def test_requests_that_the_queue_refuses_are_not_counted(tmp_path: Path, seconds: float) -> None:
    async with with_full_queue(tmp_path, seconds, requests_per_minute=2, tokens_per_minute=80) as client:
        for _ in range(4):  # more than either limit lets in
            assert (await client.post("/v1/chat/completions", json=ASKED)).status_code == 503


async def test_a_key_is_not_refused_any_more_for_requests_that_the_queue_has_refused(tmp_path: Path) -> None:
    async with with_full_queue(tmp_path, 2, requests_per_minute=1) as client:
        posts = (asyncio.create_task(client.post("/v1/chat/completions", json=ASKED)) for _ in range(2))
        refused = await asyncio.gather(*posts)
        # One of them waits, and meanwhile counts for the limit.
        assert sorted(answer.status_code for answer in refused) == [429, 503]
