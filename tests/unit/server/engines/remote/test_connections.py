"""Connections that are lost or hang, and servers that cannot be reached."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from support.remote import Fleet, chunk, collect, error, serving

from autotool_core.errors import EngineError
from autotool_server import breaker
from autotool_server.engines.remote import RemoteEngine


async def test_connection_lost_while_decoding(fleet: Fleet, engine: RemoteEngine) -> None:
    async def lines() -> AsyncIterator[str]:
        yield f"data: {json.dumps(chunk(5))}\n\n"
        raise ConnectionResetError

    fleet.stream = lambda: StreamingResponse(lines(), media_type="text/event-stream")
    with pytest.raises(EngineError, match="failed"):
        await collect(engine)


@pytest.mark.parametrize("delay", [1.0, 0.0], ids=["before the answer", "in its middle"])
async def test_silence_times_out_and_is_not_asked_for_again(fleet: Fleet, port: int, delay: float) -> None:
    async def lines() -> AsyncIterator[str]:
        yield f"data: {json.dumps(chunk(5))}\n\n"
        await asyncio.sleep(60)

    engine = RemoteEngine(f"http://127.0.0.1:{port}", timeout=0.5)
    await engine.start()
    fleet.bodies.clear()
    fleet.delay = delay
    fleet.stream = lambda: StreamingResponse(lines(), media_type="text/event-stream")
    with pytest.raises(EngineError, match="in time"):
        await collect(engine)
    assert len(fleet.bodies) == 1
    await engine.stop()


@asynccontextmanager
async def dropping(port: int) -> AsyncIterator[tuple[int, list[bool]]]:
    """A proxy of a port. For each True in the list it drops a connection with a request, then it passes bytes on."""
    drops: list[bool] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(64 * 1024)
        if drops and drops.pop():
            writer.transport.abort()
            return
        behind, to_behind = await asyncio.open_connection("127.0.0.1", port)
        to_behind.write(request)
        while part := await behind.read(64 * 1024):
            writer.write(part)
        writer.close()
        to_behind.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], drops


@pytest.mark.parametrize(("drops", "is_answered"), [(1, True), (2, False)])
async def test_a_connection_that_is_lost_before_the_answer_is_tried_once_more(
    port: int, tokenizer_dir: Path, drops: int, is_answered: bool
) -> None:
    fleet = Fleet(tokenizer_dir)
    fleet.app.middleware("http")(_close)
    async with serving(fleet) as behind, dropping(behind) as (front, left):
        engine = RemoteEngine(f"http://127.0.0.1:{front}")
        await engine.start()
        left.extend([True] * drops)
        if is_answered:
            assert len(await collect(engine)) == 1
        else:
            with pytest.raises(EngineError):
                await collect(engine)
        assert left == []
        await engine.stop()


async def _close(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer, and close the connection."""
    answer = await call_next(request)
    answer.headers["connection"] = "close"
    return answer


async def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(
    fleet: Fleet, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(fleet) as port:
        engine = RemoteEngine(f"http://127.0.0.1:{port}")
        await engine.start()
    for _ in range(breaker.MAX_FAILURES):
        with pytest.raises(EngineError, match="failed"):
            await collect(engine)
    for _ in range(2):
        with pytest.raises(EngineError, match="tried again within 10 seconds"):
            await collect(engine)
    async with serving(Fleet(tokenizer_dir), port):
        monkeypatch.setattr(engine._breaker, "_refuses_until", 0.0)
        with engine._breaker.attempt(), pytest.raises(EngineError, match="tried again"):
            await collect(engine)  # one call at a time
        monkeypatch.setattr(engine._breaker, "_refuses_until", 0.0)
        for _ in range(3):
            assert len(await collect(engine)) == 1
    await engine.stop()


async def test_a_trial_whose_client_leaves_is_followed_by_another(
    fleet: Fleet, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(breaker.MAX_FAILURES):
        engine._breaker.failed()
    monkeypatch.setattr(engine._breaker, "_refuses_until", 0.0)
    asked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Future()

    with monkeypatch.context() as patched:
        patched.setattr(engine._client, "post", never)
        trial = asyncio.create_task(collect(engine))
        await asked.wait()
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
    assert len(await collect(engine)) == 1


async def test_a_call_that_is_no_trial_changes_nothing_when_its_client_leaves(
    engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Future()

    monkeypatch.setattr(engine._client, "post", never)
    earlier = asyncio.create_task(collect(engine))
    await asked.wait()
    for _ in range(breaker.MAX_FAILURES):
        engine._breaker.failed()
    earlier.cancel()
    await asyncio.gather(earlier, return_exceptions=True)
    with pytest.raises(EngineError, match="tried again"):
        await collect(engine)


async def test_answers_that_are_errors_do_not_count_as_a_server_out_of_reach(fleet: Fleet, engine: RemoteEngine) -> None:
    """A client could otherwise shut out the others, by requests that the server fails on."""
    fleet.stream = lambda: error(500, "Internal server error")
    for _ in range(breaker.MAX_FAILURES + 1):
        with pytest.raises(EngineError, match="500"):
            await collect(engine)


async def test_a_request_that_begins_while_the_engine_stops(engine: RemoteEngine) -> None:
    decoding = asyncio.create_task(collect(engine))
    await asyncio.sleep(0)
    assert engine.in_flight()
    await engine.stop()
    with pytest.raises(EngineError, match="not running"):
        await decoding


async def test_server_that_comes_back(fleet: Fleet, tokenizer_dir: Path) -> None:
    async with serving(fleet) as port:
        engine = RemoteEngine(f"http://127.0.0.1:{port}")
        await engine.start()
        assert len(await collect(engine)) == 1
    with pytest.raises(EngineError):
        await engine.health()
    with pytest.raises(EngineError):
        await collect(engine)
    async with serving(Fleet(tokenizer_dir), port):
        await engine.health()
        assert len(await collect(engine)) == 1
    await engine.stop()
