"""The server's queue before a real engine: no more runs at once than the engine has room for."""

import asyncio

import httpx
from support.engines import until
from support.serving import MODEL, running

from autotool_server.engines.transformers import TransformersEngine


async def test_no_more_requests_run_than_the_engine_has_room_for(tiny: TransformersEngine) -> None:
    seen: set[int] = set()
    async with running(tiny) as server, httpx.AsyncClient(base_url=server.url, timeout=120) as client:

        async def send(tokens: int) -> httpx.Response:
            body = {"model": MODEL, "prompt": "One, two,", "max_tokens": tokens, "ignore_eos": True}
            return await client.post("/completions", json=body)

        tasks = [asyncio.create_task(send(120)) for _ in range(7)]
        await until(lambda: server.state.queue.running_requests == 3 and tiny.in_flight() == 3)
        # One token has a place of its own and does not wait for the long ones.
        assert (await send(1)).status_code == 200
        assert not any(task.done() for task in tasks)
        while not all(task.done() for task in tasks):
            seen.add(tiny.in_flight())
            await asyncio.sleep(0.005)
        assert {(await task).status_code for task in tasks} == {200}
        # Two are decoded at once, and the next one is there.
        assert max(seen) == 3
        await server.idle()
        assert (server.state.queue.running_requests, server.state.queue.running_tokens) == (0, 0)
