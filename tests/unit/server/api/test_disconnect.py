"""A client that leaves ends its generation: queued, deciding, reasoning, answering; streamed or not."""

import asyncio
from typing import Any

import httpx
import pytest
from support.serving import Running, running, scripted

TEXT = "Hm.\n</think>\n\nFour."
USER: Any = [{"role": "user", "content": "2+2?"}]


async def leave_when(server: Running, body: dict[str, Any], held: asyncio.Event) -> None:
    """Send a request and hang up once the engine is held."""
    async with httpx.AsyncClient() as client:
        request = asyncio.create_task(
            client.post(f"{server.url}/chat/completions", json={"model": "tested", "messages": USER} | body)
        )
        await held.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("mode", "at"), [("auto", 0), ("long", 0), ("long", 2), ("long", 7), ("short", 0), ("short", 9)])
async def test_leaving_aborts(mode: str, at: int, stream: bool) -> None:
    engine = scripted(TEXT, log_odds=50.0)
    held, tokens = asyncio.Event(), 0

    def gate() -> asyncio.Future[None] | None:
        nonlocal tokens
        tokens += 1
        if tokens <= at:
            return None
        held.set()
        return asyncio.get_running_loop().create_future()

    engine.gate = gate
    async with running(engine) as server:
        await leave_when(server, {"mode": mode, "stream": stream}, held)
        await server.idle()
        assert len(engine.aborted) == 1
        assert 'status="499"' in server.state.metrics.page().decode()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_leaving_aborts_every_choice(stream: bool) -> None:
    engine = scripted(TEXT)
    held = asyncio.Event()

    def gate() -> asyncio.Future[None]:
        if engine.in_flight() == 4:
            held.set()
        return asyncio.get_running_loop().create_future()

    engine.gate = gate
    async with running(engine) as server:
        await leave_when(server, {"mode": "short", "stream": stream, "n": 4}, held)
        await server.idle()
        assert len(engine.aborted) == 4


async def test_the_server_serves_on_after_many_have_left() -> None:
    engine = scripted(TEXT)
    async with running(engine) as server:
        for _ in range(20):
            held = asyncio.Event()
            engine.gate = lambda held=held: held.set() or asyncio.get_running_loop().create_future()
            await leave_when(server, {"mode": "long", "stream": True}, held)
        engine.gate = None
        await server.idle()
        completion = await server.client.chat.completions.create(model="tested", messages=USER, extra_body={"mode": "long"})
        assert completion.choices[0].message.content == "Four."
