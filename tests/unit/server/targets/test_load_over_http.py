"""What the load spares turns, over HTTP: the record, the metrics, targets, and a queue that fills and empties."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import pytest
from support.engines import until
from support.serving import MODEL, Running, held, running, scripted

from autotool_server.engines.base import Capacity

QUESTION: list[Any] = [{"role": "user", "content": "How many?"}]
NEW_FIELDS = {"load_bias", "load_share"}


async def ask(server: Running, **fields: Any) -> Mapping[str, Any]:
    """Return the first turn of an answer's decision record."""
    create: Any = server.client.chat.completions.create
    options = {name: fields.pop(name) for name in ("temperature", "max_completion_tokens") if name in fields}
    answer = await create(model=MODEL, messages=QUESTION, extra_body={"mode": "auto", **fields}, **options)
    return answer.model_extra["autotool"]["turns"][0]


def press(server: Running, pressure: float | None) -> None:
    """Let a request that comes now expect its first token after so many parts of the time that is to be kept."""
    load = server.state.service.load
    load._first_tokens.clear()
    load.expected_wait = lambda _: None if pressure is None else pressure * server.state.settings.slo_first_token


async def test_the_record_says_what_was_spared() -> None:
    async with running(scripted("Seven."), max_load_bias=4) as server:
        press(server, 0.5)
        turn = await ask(server, reasoning_bias=-1.0)
        assert (turn["load_bias"], turn["reasoning_bias"]) == (pytest.approx(-2, abs=0.1), turn["load_bias"] - 1)
        assert "load_share" not in turn
        press(server, None)
        assert not NEW_FIELDS & (await ask(server)).keys()


async def test_without_the_option_nothing_changes() -> None:
    async with running(scripted("Seven.", log_odds=3.0)) as server:
        press(server, 9)
        for mode in ("auto", "long", "short"):
            turn = await ask(server, mode=mode, temperature=0)
            assert not NEW_FIELDS & turn.keys()
            assert (turn["resolved"], turn["reasoning_bias"]) == ("short" if mode == "short" else "long", 0)
        press(server, 9)
        assert shown(server) == [9, 0, 1]


@pytest.mark.parametrize(("pressure", "resolved"), [(None, "long"), (0.3, "long"), (0.75, "short"), (9, "short")])
async def test_auto_thinks_less(pressure: float | None, resolved: str) -> None:
    async with running(scripted("Seven.", log_odds=3.0), max_load_bias=4) as server:
        press(server, pressure)
        assert (await ask(server, temperature=0))["resolved"] == resolved


async def test_a_forced_thought_is_made_shorter_and_stays_one() -> None:
    engine = scripted("one two three four five six seven eight nine ten eleven twelve</think>\n\nSeven.")
    async with running(engine, max_load_bias=4) as server:
        whole = await ask(server, mode="long")
        assert not whole["reasoning_truncated"]
        press(server, 9)
        turn = await ask(server, mode="long")
        expected = math.ceil(0.25 * whole["reasoning_tokens"])
        assert (turn["resolved"], turn["load_share"], turn["max_reasoning_tokens"]) == ("long", 0.25, expected)
        assert (turn["reasoning_truncated"], turn["reasoning_tokens"]) == (True, expected)
        assert "load_bias" not in turn
        assert (await ask(server, mode="long", max_reasoning_tokens=2))["max_reasoning_tokens"] == 1


async def test_an_answer_without_a_thought_is_as_it_is() -> None:
    async with running(scripted("Seven."), max_load_bias=4) as server:
        press(server, 9)
        assert not NEW_FIELDS & (await ask(server, mode="short")).keys()


async def test_a_target_learns_nothing_under_load() -> None:
    async with running(scripted("Seven.", log_odds=3.0), max_load_bias=4, target="thinking-rate=0.9") as server:
        controller = server.state.service.targets.configured["server"]
        press(server, 9)
        turns = [await ask(server) for _ in range(40)]
        assert (controller.bias, controller.thinking_rate, controller.mean_tokens) == (0.0, None, None)
        seen = {(turn["reasoning_bias"], turn["load_bias"], turn["target"]) for turn in turns}
        assert seen == {(-4, -4, "thinking-rate=0.9")}
        press(server, None)
        await ask(server)
        assert controller.thinking_rate is not None


async def test_a_quote_has_the_load_bias() -> None:
    async with running(scripted("Seven.", log_odds=3.0), max_load_bias=4) as server:
        press(server, 0.75)
        asked = {"model": MODEL, "messages": QUESTION, "mode": "auto", "temperature": 0}
        quote: Any = await server.client.post("/chat/completions/quote", body=asked, cast_to=object)
        assert (quote["resolved"], quote["reasoning_bias"]) == ("short", pytest.approx(-4))


async def test_an_audit_teaches_the_load_nothing_and_is_of_no_turn_that_it_spared() -> None:
    async with running(scripted("Seven.", log_odds=3.0), max_load_bias=4, audit=1) as server:
        auditor, load = server.state.auditor, server.state.service.load
        press(server, 0.5)
        await ask(server)
        await auditor.settled()
        assert auditor.records.pairs() == {}
        press(server, None)
        await ask(server)
        await auditor.settled()
        assert [len(pairs) for pairs in auditor.records.pairs().values()] == [1]
        assert len(load._first_tokens) == 1


async def test_the_metrics_show_it() -> None:
    async with running(scripted("Seven."), max_load_bias=4) as server:
        assert shown(server) == [0, 0, 1]
        press(server, 9)
        assert shown(server) == [9, -4, 0.25]


def shown(server: Running) -> list[float | None]:
    registry = server.state.metrics.registry
    return [registry.get_sample_value(f"autotool_load_{name}") for name in ("pressure", "bias", "share")]


async def test_a_queue_makes_it_act_and_an_empty_one_undoes_it() -> None:
    engine = scripted("Seven.", log_odds=50.0)
    engine.capacity = Capacity(1)
    release = held(engine, after=0)
    async with running(engine, max_load_bias=100, slo_first_token=0.05) as server:
        tasks = [asyncio.create_task(ask(server, temperature=0)) for _ in range(9)]
        await until(lambda: server.state.service.load.pressure() > 1)
        release.set()
        turns = [await task for task in tasks]
        spared = [turn for turn in turns if "load_bias" in turn]
        assert any(turn["load_bias"] == -100 for turn in spared)
        assert {turn["resolved"] for turn in spared if turn["load_bias"] < -50} == {"short"}
        assert {turn["resolved"] for turn in turns if turn not in spared} == {"long"}
        await server.idle()
        assert shown(server) == [0, 0, 1]
        assert (await ask(server, temperature=0))["resolved"] == "long"
