"""The queue before the engine, as clients see it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.engines import until
from support.keys import bearer, write_keys
from support.serving import MODEL, Running, held, running, scripted
from support.tools import ADD_1_2, NUMBERS, Scripted, ask, autotool_field, named, with_tools

from autotool_server.engines.base import Capacity, EngineRequest
from autotool_server.engines.scripted import ScriptedEngine

ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short", "max_tokens": 20}
PATHS = {
    "/v1/chat/completions": ASKED,
    "/v1/messages": ASKED,
    "/v1/responses": {"model": MODEL, "input": "?", "mode": "short", "max_output_tokens": 20},
    "/v1/completions": {"model": MODEL, "prompt": "?", "max_tokens": 20},
}
CHAT = "/v1/chat/completions"


@asynccontextmanager
async def serving(engine: ScriptedEngine, places: int = 1, **settings: Any) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    engine.capacity = Capacity(places)
    limits = httpx.Limits(max_connections=None)
    async with running(engine, **settings) as server:
        url = server.url.removesuffix("/v1")
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            yield server, client


def waiting(server: Running) -> int:
    return len(server.state.queue._waiting)


def send(client: httpx.AsyncClient, path: str = CHAT, **body: Any) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.post(path, json=PATHS[path] | body))


async def fill(server: Running, client: httpx.AsyncClient, engine: ScriptedEngine) -> asyncio.Task[httpx.Response]:
    """Have one request run that takes the only place."""
    first = send(client)
    await until(lambda: len(engine.requests) == 1)
    return first


def counted(server: Running) -> dict[str, int]:
    """Return the numbers of requests by status."""
    found: dict[str, int] = {}
    page = server.state.metrics.page().decode()
    for status, number in re.findall(r'autotool_requests_total\{.*status="(\d+)"\} (\d+)', page):
        found[status] = found.get(status, 0) + int(number)
    return found


async def test_few_requests_of_one_key_pass_the_many_of_another(tmp_path: Path) -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    ended: list[str] = []

    async def ask(client: httpx.AsyncClient, key: str) -> None:
        assert (await client.post(CHAT, json=ASKED, headers=bearer(key))).status_code == 200
        ended.append(key)

    async with serving(engine, 2, keys=write_keys(tmp_path, alice={}, bob={})) as (server, client):
        tasks = [asyncio.create_task(ask(client, "alice")) for _ in range(60)]
        await until(lambda: waiting(server) == 58)
        tasks += [asyncio.create_task(ask(client, "bob")) for _ in range(4)]
        await until(lambda: waiting(server) == 62)
        assert engine.in_flight() == 2
        release.set()
        await asyncio.gather(*tasks)
        # Two of alice's ran already; from then on the turns alternate.
        assert ended.index("bob") < 8
        assert len(ended) - ended[::-1].index("bob") < 20
        assert counted(server) == {"200": 64}
        await server.idle()


async def test_the_engine_has_no_more_than_it_has_room_for() -> None:
    seen: list[int] = []

    def text(_: EngineRequest) -> str:
        seen.append(engine.in_flight())
        return "one two three"

    engine = scripted(text)
    async with serving(engine, 3) as (server, client):
        answers = await asyncio.gather(*(send(client, stream=bool(number % 2)) for number in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        assert max(seen) == 3
        # The choices of a request are decoded side by side; one that has more than there is room for runs alone.
        seen.clear()
        await asyncio.gather(*(send(client, n=n) for n in (2, 8, 1, 2, 3)))
        assert max(seen) == 8
        assert not set(seen) - {1, 2, 3, 8, *range(4, 8)}
        await server.idle()
        assert "autotool_queue_seconds_count 35.0" in server.state.metrics.page().decode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_what_has_waited_for_too_long_is_refused_in_the_protocols_shape(path: str, stream: bool) -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    async with serving(engine, max_queue_seconds=0.05) as (server, client):
        first = await fill(server, client, engine)
        refused = await send(client, path, stream=stream)
        assert refused.status_code == (529 if path == "/v1/messages" else 503)
        assert refused.headers["retry-after"] == "1"
        assert "soon enough. Try again in 1 second." in refused.json()["error"]["message"]
        release.set()
        assert (await first).status_code == 200
        assert (await send(client, path, stream=stream)).status_code == 200
        await server.idle()
        assert counted(server) == {"200": 2, str(refused.status_code): 1}


async def test_clients_that_leave_while_they_wait_leave_the_queue() -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    async with serving(engine) as (server, client):
        first = await fill(server, client, engine)
        others = [send(client, stream=bool(number % 2)) for number in range(20)]
        await until(lambda: waiting(server) == 20)
        for task in others[::2]:
            task.cancel()
        await until(lambda: waiting(server) == 10)
        release.set()
        assert (await first).status_code == 200
        assert {(await task).status_code for task in others[1::2]} == {200}
        await server.idle()
        assert counted(server) == {"200": 11, "499": 10}
        assert len(engine.requests) == 11


async def test_a_stop_refuses_those_who_wait_and_lets_the_others_end(tmp_path: Path) -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    async with serving(engine, response_store=f"sqlite:///{tmp_path / 'responses.db'}") as (server, client):
        first = await fill(server, client, engine)
        others = [send(client, path) for path in PATHS]
        accepted = await send(client, "/v1/responses", background=True)
        assert (accepted.status_code, accepted.json()["status"]) == (200, "queued")
        await until(lambda: waiting(server) == 5)
        server.state.shutdown.drain()
        refused = [await task for task in others]
        assert [answer.status_code for answer in refused] == [503, 529, 503, 503]
        assert all("stopping" in answer.json()["error"]["message"] for answer in refused)
        assert waiting(server) == 1
        release.set()
        assert (await first).status_code == 200
        # It was accepted before the stop, and runs.
        await until(lambda: len(engine.requests) == 2)
        await server.state.admission.idle()
        stored = await client.get(f"/v1/responses/{accepted.json()['id']}")
        assert stored.json()["status"] == "completed"


async def test_a_cut_ends_background_responses_that_wait(tmp_path: Path) -> None:
    engine = scripted("x")
    held(engine, after=0)
    async with serving(engine, response_store=f"sqlite:///{tmp_path / 'responses.db'}") as (server, client):
        first = await fill(server, client, engine)
        accepted = await send(client, "/v1/responses", background=True)
        server.state.shutdown.drain()
        server.state.shutdown.cut()
        assert (await first).status_code == 503
        await server.state.admission.idle()
        stored = await client.get(f"/v1/responses/{accepted.json()['id']}")
        assert stored.json()["status"] == "cancelled"
        await server.idle()


async def test_background_responses_wait_and_can_be_cancelled_meanwhile(tmp_path: Path) -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    async with serving(engine, response_store=f"sqlite:///{tmp_path / 'responses.db'}") as (server, client):
        first = await fill(server, client, engine)
        accepted = [await send(client, "/v1/responses", background=True) for _ in range(3)]
        await until(lambda: waiting(server) == 3)
        cancelled, *others = [answer.json()["id"] for answer in accepted]
        assert (await client.post(f"/v1/responses/{cancelled}/cancel")).json()["status"] == "cancelled"
        assert waiting(server) == 2
        release.set()
        await first
        await server.idle()
        stored = [(await client.get(f"/v1/responses/{name}")).json()["status"] for name in others]
        assert stored == ["completed", "completed"]


async def test_a_background_response_that_would_wait_too_long_is_refused_at_once(tmp_path: Path) -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    store = f"sqlite:///{tmp_path / 'responses.db'}"
    async with serving(engine, response_store=store, max_queue_seconds=0) as (server, client):
        first = await fill(server, client, engine)
        assert (await send(client, "/v1/responses", background=True)).status_code == 503
        release.set()
        await first
        await server.idle()


async def test_priorities_of_requests_decide(tmp_path: Path) -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    async with serving(engine) as (server, client):
        first = await fill(server, client, engine)
        tasks: list[asyncio.Task[httpx.Response]] = []
        for number, priority in enumerate((5, 5, 0, -1)):
            tasks.append(send(client, priority=priority, max_tokens=10 + number))
            await until(lambda: waiting(server) == len(tasks))
        release.set()
        await asyncio.gather(first, *tasks)
        assert [request.max_tokens for request in engine.requests[1:]] == [13, 12, 10, 11]


async def test_a_tool_loop_keeps_its_place_while_its_tools_run_and_grows_without_waiting() -> None:
    held_tokens: list[float] = []

    async def work(arguments: Any) -> str:
        await until(lambda: waiting(server) == 1)
        held_tokens.append(server.state.queue.running_tokens)
        return "3" * 500

    def text(request: EngineRequest) -> str:
        held_tokens.append(server.state.queue.running_tokens)
        return next(texts)

    texts = iter((ADD_1_2, "It is 3.", "Four."))
    engine = scripted(text)
    engine.capacity = Capacity(1, 100_000)
    async with with_tools(engine, Scripted("math.add", work, NUMBERS)) as server:
        loop = asyncio.create_task(ask(server, named("math.add")))
        await until(lambda: bool(engine.requests))
        create: Any = server.client.chat.completions.create
        other = await create(model=MODEL, messages=ASKED["messages"], max_tokens=20, extra_body={"mode": "short"})
        assert autotool_field(await loop)["stop_reason"] == "answer"
        assert other.choices[0].message.content == "Four."
        first, in_tool, second, _ = held_tokens
        assert first == in_tool < second
        await server.idle()
        assert server.state.queue.running_tokens == 0


async def test_one_that_leaves_before_its_turn_is_charged_no_tokens(tmp_path: Path) -> None:
    engine = scripted("x")
    release = held(engine, after=0)
    async with serving(engine, keys=write_keys(tmp_path, alice={}, bob={})) as (server, client):
        first = asyncio.create_task(client.post(CHAT, json=ASKED, headers=bearer("alice")))
        await until(lambda: engine.in_flight() == 1)
        leaver = asyncio.create_task(client.post(CHAT, json=ASKED, headers=bearer("bob")))
        await until(lambda: waiting(server) == 1)
        leaver.cancel()
        await until(lambda: waiting(server) == 0)
        release.set()
        assert (await first).status_code == 200
        await server.idle()
        for key, has_run in (("alice", True), ("bob", False)):
            used = (await client.get("/v1/usage", headers=bearer(key))).json()["today"]
            assert (used["requests"], used["total_tokens"] > 0) == (1, has_run)
