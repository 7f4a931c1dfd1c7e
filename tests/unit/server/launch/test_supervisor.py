"""An engine that fails while the server runs: it is started again, with pauses, and not for ever."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest
from support.engines import until
from support.serving import MODEL, Running, running, scripted

from autotool_core.errors import EngineError, HungThreadError
from autotool_core.imports import without_collections
from autotool_server.engines.base import Capacity
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.errors import OverloadedError
from autotool_server.launch import supervisor
from autotool_server.launch.supervisor import Supervisor

Supervised = tuple[Running, asyncio.Task[EngineError], asyncio.Event]
ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short"}


class Engine(ScriptedEngine):
    """An engine that fails when it is told to, and whose next starts fail as often as `bad_starts` says."""

    failure: str | None = None
    bad_starts = 0
    starts = 0
    may_start: asyncio.Event

    async def start(self) -> None:
        self.starts += 1
        await self.may_start.wait()
        if self.starts <= self.bad_starts:
            raise RuntimeError("There is no memory.")
        self.failure = None

    async def health(self) -> None:
        if self.failure is not None:
            raise EngineError(self.failure)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0)
    monkeypatch.setattr(supervisor, "PAUSE_SECONDS", 0)
    plain = scripted("It is four.")
    engine = Engine(plain.tokenizer, plain.eos_token_ids, plain.script)
    engine.may_start = asyncio.Event()
    return engine


@asynccontextmanager
async def supervised(engine: Engine, restarts: int = 3) -> AsyncIterator[Supervised]:
    is_loaded = asyncio.Event()
    is_loaded.set()
    async with running(engine, engine_restarts=restarts) as server:
        task = asyncio.create_task(Supervisor(server.state, is_loaded, lambda: True).run())
        yield server, task, is_loaded
        task.cancel()


async def test_an_engine_that_fails_is_started_again(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    async with supervised(engine) as (server, task, is_loaded), httpx.AsyncClient(base_url=server.url) as client:
        engine.failure = "The engine is gone."
        await until(lambda: not is_loaded.is_set())
        for method, path in (("POST", "/chat/completions"), ("GET", "/models"), ("GET", "/../health/ready")):
            answer = await client.request(method, path, json=ASKED)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
            assert answer.json()["error"]["message"].startswith("The engine has failed and is being started again.")
        assert (await client.get("/../health/live")).status_code == 200
        assert "autotool_ready 0.0" in (await client.get("/../metrics")).text
        engine.may_start.set()
        await is_loaded.wait()
        assert (await client.post("/chat/completions", json=ASKED)).status_code == 200
        assert (await client.get("/../health/ready")).status_code == 200
        page = (await client.get("/../metrics")).text
        assert "autotool_engine_restarts_total 1.0" in page
        assert "autotool_ready 1.0" in page
        assert not task.done()
    assert "The engine is gone. The engine is started again (1 of 3)." in caplog.text


@pytest.mark.parametrize(("restarts", "bad_starts", "starts"), [(0, 0, 0), (2, 2, 2), (3, 2, 3)])
async def test_restarts_are_limited(engine: Engine, restarts: int, bad_starts: int, starts: int) -> None:
    engine.may_start.set()
    engine.bad_starts = bad_starts
    async with supervised(engine, restarts=restarts) as (_, task, is_loaded):
        engine.failure = "The engine is gone."
        if restarts > bad_starts:
            await until(lambda: engine.failure is None)
            assert not task.done()
        else:
            last = "It did not start: There is no memory." if bad_starts else "The engine is gone."
            assert str(await task) == last
            assert is_loaded.is_set()
    assert engine.starts == starts


@pytest.mark.parametrize(("restarts", "bad_ends", "starts"), [(3, 2, 3), (2, 2, 2)])
async def test_an_error_after_the_start_is_a_failed_restart(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, restarts: int, bad_ends: int, starts: int
) -> None:
    engine.may_start.set()

    def fit(_: Capacity) -> None:
        if 0 < engine.starts <= bad_ends:
            raise MemoryError("There is no memory.")

    async with supervised(engine, restarts=restarts) as (server, task, is_loaded):
        monkeypatch.setattr(server.state.queue, "fit", fit)
        engine.failure = "The engine is gone."
        if restarts > bad_ends:
            await until(lambda: engine.starts == starts and is_loaded.is_set())
            assert not task.done()
            assert server.state.service.engine is engine
        else:
            assert str(await task) == "It did not start: There is no memory."
            with pytest.raises(OverloadedError):
                _ = server.state.service
        assert server.state.metrics.registry.get_sample_value("autotool_engine_restarts_total") == starts
    assert engine.starts == starts


async def test_an_engine_whose_thread_hangs_is_not_started_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def health() -> None:
        raise HungThreadError("It hangs.")

    monkeypatch.setattr(engine, "health", health)
    async with supervised(engine) as (_, task, _):
        assert isinstance(await task, HungThreadError)
    assert engine.starts == 0


def test_garbage_is_collected_once_a_server_has_started() -> None:
    with without_collections():
        supervisor.freeze_loaded_objects()
        assert gc.isenabled()
    gc.unfreeze()
    assert gc.isenabled()


async def test_restarts_count_anew_after_steady_service(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.may_start.set()
    async with supervised(engine, restarts=1) as (_, task, _):
        monkeypatch.setattr(supervisor, "STEADY_SECONDS", 0)
        for number in (1, 2, 3):
            engine.failure = "The engine is gone."
            await until(lambda: engine.failure is None)
            assert (engine.starts, task.done()) == (number, False)


async def test_pauses_grow(engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pauses = list[float]()
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(supervisor, "PAUSE_SECONDS", 16)
    engine.may_start.set()
    engine.bad_starts = 4
    async with supervised(engine, restarts=4) as (_, task, _):
        # Of this module alone: the servers of other tests sleep in the same loop.
        monkeypatch.setattr(supervisor, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": note}))
        engine.failure = "The engine is gone."
        await task
    assert [pause for pause in pauses if pause >= 16] == [16, 32, 60, 60]
    assert caplog.record_tuples[0][1] == logging.ERROR


async def test_an_engine_elsewhere_that_fails_may_be_back(engine: Engine) -> None:
    engine.failure = "The engine is gone."
    engine.in_process = False
    dying = asyncio.create_task(supervisor.death(engine))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not dying.done()
    engine.in_process = True
    assert str(await dying) == "The engine is gone."
