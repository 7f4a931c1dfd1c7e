"""Requests that are cancelled, rejected or fail leave nothing behind in the engine or its manager."""

import asyncio
import logging
import math
import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from support.engines import Output, ask, collect, until
from support.transformers_engine import TAG, leftovers, nothing_left, states
from transformers.generation.continuous_batching.requests import RequestStatus

from autotool_core.errors import EngineError, InvalidRequestError
from autotool_server.engines.base import EngineRequest, Sampling
from autotool_server.engines.transformers import TransformersEngine, batcher
from autotool_server.launch.supervisor import collect_all, freeze_loaded_objects


def value(metric: str) -> float:
    """Return what Prometheus reads of a metric."""
    found = REGISTRY.get_sample_value(metric)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def checkpoint(base_model_dir: Path) -> Path:
    """One whose prompts may be so long that they are prefilled for a while."""
    return base_model_dir


# Leaving


async def test_leaving_while_decoding(engine: TransformersEngine, prompt: list[int]) -> None:
    for rest in ({}, {"structural_tag": TAG}, {"logprobs": 1}):
        async with aclosing(engine.generate(ask(prompt, 4000, Sampling(), **rest))) as stream:
            await anext(stream)
            assert engine.in_flight() == 1
        assert engine.in_flight() == 0
        await nothing_left(engine)


async def test_leaving_in_prefill(engine: TransformersEngine) -> None:
    prompt = engine.tokenizer.encode("Another prompt of which nothing can be in the cache. " * 600)
    task = asyncio.create_task(collect(engine, ask(prompt, 5)))
    await until(lambda: RequestStatus.PREFILLING in states(engine))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_left(engine)


async def test_leaving_the_queue(tiny: TransformersEngine) -> None:
    tasks = [asyncio.create_task(collect(tiny, ask([5 + number], 400))) for number in range(5)]
    await until(lambda: len(tiny._batcher._manager.batch_processor.scheduler.waiting_requests) == 3)
    for task in tasks[2:]:
        task.cancel()
    await until(lambda: leftovers(tiny) <= 2 * 3)
    assert tiny.in_flight() == 2
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(output, asyncio.CancelledError) for output in outputs] == [False, False, True, True, True]
    await nothing_left(tiny)


async def test_requests_for_one_token_do_not_wait_for_long_ones(tiny: TransformersEngine) -> None:
    queued = value("autotool_engine_queue_seconds_count")
    long = [asyncio.create_task(collect(tiny, ask([5 + number], 150))) for number in range(6)]
    await until(lambda: value("autotool_engine_requests_waiting") == 4)
    assert value("autotool_engine_requests_running") == 2
    for number in range(4):
        await tiny.score("test", [50 + number] * 40, (1, 2))
        assert len((await collect(tiny, ask([70 + number], 1))).tokens) == 1
    assert not any(task.done() for task in long)
    assert value("autotool_engine_requests_waiting") == 4
    assert [len(output.tokens) for output in await asyncio.gather(*long)] == [150] * 6
    assert value("autotool_engine_queue_seconds_count") == queued + 6 + 8
    await nothing_left(tiny)


async def test_many_requests_for_one_token_do_not_keep_long_ones_out(tiny: TransformersEngine) -> None:
    long = [asyncio.create_task(collect(tiny, ask([5 + number], 10))) for number in range(3)]
    short = [asyncio.create_task(collect(tiny, ask([50 + number], 1))) for number in range(200)]
    await asyncio.gather(*long)
    assert not all(task.done() for task in short)
    await asyncio.gather(*short)


async def test_leaving_a_score(tiny: TransformersEngine) -> None:
    task = asyncio.create_task(tiny.score("test", [5] * 400, (1, 2)))
    await asyncio.sleep(0)
    assert tiny.in_flight() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_left(tiny)


async def test_leaving_at_once(tiny: TransformersEngine) -> None:
    """Requests are cancelled before, while and after the manager takes them."""
    for number in range(300):
        tasks = [asyncio.create_task(collect(tiny, ask([5], 400, structural_tag=tag))) for tag in (None, None, TAG)]
        for _ in range(number % 7):
            await asyncio.sleep(0.0005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tiny.in_flight() == 0
    await nothing_left(tiny)


async def test_finished_requests_leave_nothing(tiny: TransformersEngine) -> None:
    requests = [ask([5, 6, 7], 5, Sampling(seed=number), logprobs=number % 2) for number in range(50)]
    outputs = await asyncio.gather(*(collect(tiny, request) for request in requests))
    assert {len(output.tokens) for output in outputs} == {5}
    await nothing_left(tiny)


async def test_full_cache_waits_and_survives_who_leaves(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "TYPICAL_TOKENS", 1)
    engine = TransformersEngine(str(tiny_model_dir), max_num_seqs=4)
    await engine.start()
    prompts = [[5 + number] * 9 for number in range(2)]
    undisturbed = await collect(engine, ask(prompts[1], 480))
    scheduler = engine._batcher._manager.batch_processor.scheduler
    leaver, stayer = [asyncio.create_task(collect(engine, ask(ids, 480))) for ids in prompts]
    await until(lambda: scheduler.block_new_requests)
    leaver.cancel()
    async with asyncio.timeout(60):
        assert (await stayer).tokens == undisturbed.tokens
    await nothing_left(engine)
    await engine.stop()


# Refusals and failures


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ask([5] * 500, 100), None),
        (ask([]), "messages"),
        (ask([49156]), "messages"),
        (ask([5], sampling=Sampling(logit_bias={49156: 1.0})), "logit_bias"),
        (ask([5], sampling=Sampling(seed=2**64)), "seed"),
    ],
)
async def test_refused(tiny: TransformersEngine, request_: EngineRequest, field: str | None) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await collect(tiny, request_)
    assert refusal.value.field == field
    await nothing_left(tiny)


async def test_failure_of_one_request_does_not_affect_others(tiny: TransformersEngine) -> None:
    broken = ask([5], 8, Sampling(logit_bias={3: math.nan}))
    failure, output = await asyncio.gather(
        collect(tiny, broken), collect(tiny, ask([5], 8, Sampling())), return_exceptions=True
    )
    assert isinstance(failure, EngineError)
    assert isinstance(output, Output)
    await nothing_left(tiny)
    await tiny.health()


async def test_death_of_the_thread_is_reported(tiny: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("out of order")

    async with aclosing(tiny.generate(ask([5], 400))) as stream:
        await anext(stream)
        monkeypatch.setattr(tiny._parts.model, "forward", fail)
        with pytest.raises(EngineError):
            async for _ in stream:
                pass
    with pytest.raises(EngineError, match="thread has stopped"):
        await tiny.health()
    with pytest.raises(EngineError):
        await collect(tiny, ask([5]))
    assert tiny.in_flight() == 0


async def test_stop_ends_requests_in_flight(tiny: TransformersEngine) -> None:
    tasks = [asyncio.create_task(collect(tiny, ask([5 + number], 400))) for number in range(4)]
    await until(lambda: len(states(tiny)) == 2)
    thread = tiny._batcher._manager._generation_thread
    await tiny.stop()
    await tiny.stop()
    outputs = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(output, EngineError) for output in outputs)
    assert not thread.is_alive()
    assert tiny.in_flight() == 0
    with pytest.raises(EngineError, match="not running"):
        await tiny.health()
    with pytest.raises(EngineError, match="not running"):
        await collect(tiny, ask([5]))


@pytest.fixture
def no_records() -> Iterator[None]:
    """Log nothing: pytest keeps records, and with them the frames of their errors."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("no_records")
async def test_a_model_that_has_failed_is_let_go_of(tiny: TransformersEngine) -> None:
    """It is loaded again when the engine is started again, and two may not fit."""

    def fail(**_: Any) -> None:
        raise RuntimeError("out of order")

    model = weakref.ref(tiny._parts.model)
    freeze_loaded_objects()
    tiny._parts.model.forward = fail
    with pytest.raises(EngineError):
        await collect(tiny, ask([5], 400))
    await tiny.stop()
    collect_all()
    assert model() is None


async def test_start_leaves_the_event_loop_free(base_model_dir: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticker = asyncio.create_task(tick())
    engine = TransformersEngine(str(base_model_dir), max_num_seqs=1, max_model_len=512)
    await engine.start()
    ticker.cancel()
    assert engine.max_model_len == 512
    assert ticks > 5
    await engine.stop()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float33"}, "dtype"),
        ({"device": "abacus"}, "device"),
        ({"max_model_len": 10**6}, "max_model_len"),
    ],
)
async def test_impossible_setting_is_named(tiny_model_dir: Path, settings: dict[str, Any], message: str) -> None:
    engine = TransformersEngine(str(tiny_model_dir), **settings)
    with pytest.raises(EngineError, match=message):
        await engine.start()
    await engine.stop()


async def test_missing_and_broken_checkpoints(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No tokenizer"):
        await TransformersEngine(str(tmp_path / "nothing")).start()
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model_dir, broken)
    os.truncate(broken / "model.safetensors", 1000)
    with pytest.raises(EngineError, match="No model"):
        await TransformersEngine(str(broken)).start()


async def test_cache_beyond_memory_names_the_mend(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(str(tiny_model_dir), max_num_seqs=10**8)
    with pytest.raises(EngineError, match="max_num_seqs"):
        await engine.start()
