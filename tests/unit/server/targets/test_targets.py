"""Targets over HTTP: whose target holds for a request, what the record and the metrics say, and what is refused."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError
from support.serving import MODEL, Running, held, running, scripted

from autotool_core.api_keys import hash_of
from autotool_core.errors import AutoToolError
from autotool_core.profile import BUILTIN
from autotool_core.target import Target
from autotool_server.launch import checks
from autotool_server.launch.lifecycle import make_service
from autotool_server.launch.warm_up import warm_up
from autotool_server.settings import Settings, load_settings
from autotool_server.targets import MAX_REQUESTED, Targets

QUESTION: list[Any] = [{"role": "user", "content": "How many?"}]
KEY = "sk-autotool-a-key-for-tests"


async def ask(server: Running, **fields: Any) -> Mapping[str, Any]:
    """Return the first turn of an answer's decision record."""
    create: Any = server.client.chat.completions.create
    answer = await create(model=fields.pop("model", MODEL), messages=QUESTION, extra_body={"mode": "auto", **fields})
    return answer.model_extra["autotool"]["turns"][0]


async def test_a_target_moves_the_bias_and_the_record_says_so() -> None:
    engine = scripted("Seven.", log_odds=-3.0)
    async with running(engine, target="thinking-rate=0.5") as server:
        first = await ask(server, seed=80)  # with seeds the draws are the same in every run
        assert (first["reasoning_bias"], first["target"]) == (0.0, "thinking-rate=0.5")
        turns = [await ask(server, seed=number) for number in range(80)]
        assert 2.0 < turns[-1]["reasoning_bias"] < 4.0
        assert turns[-1]["p_long"] == first["p_long"]
        assert 0.3 < sum(turn["resolved"] == "long" for turn in turns[40:]) / 40 < 0.7
        page = server.state.metrics.page().decode()
    assert 'autotool_target_bias{scope="server",target="thinking-rate=0.5"} ' in page
    assert 'autotool_target_thinking_rate{scope="server",target="thinking-rate=0.5"} 0.' in page


async def test_a_bias_of_the_request_holds_alone() -> None:
    async with running(scripted("Seven."), target="thinking-rate=0.5") as server:
        turn = await ask(server, reasoning_bias=-1.0)
    assert (turn["reasoning_bias"], turn["target"]) == (-1.0, None)


async def test_an_effort_moves_its_requests_beside_the_target() -> None:
    async with running(scripted("Seven."), target="thinking-rate=0.5") as server:
        turn = await ask(server, reasoning_effort="low")
    assert (turn["reasoning_bias"], turn["target"]) == (-2.0, "thinking-rate=0.5")


@pytest.mark.parametrize("mode", ["long", "short"])
async def test_nothing_is_decided_in_a_forced_mode(mode: str) -> None:
    async with running(scripted("Seven."), target="thinking-rate=0.5") as server:
        turn = await ask(server, mode=mode)
    assert (turn["reasoning_bias"], turn["target"]) == (0.0, None)


async def test_the_nearest_target_holds(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[keys.app]\nhash = "{hash_of(KEY)}"\ntarget = "tokens=90"\n')
    aliases = {"model_aliases": ("cheap",), "alias_targets": {"cheap": "thinking-rate=0.1"}}
    async with running(scripted("Seven."), target="thinking-rate=0.5", api_key="none", keys=str(keys), **aliases) as server:
        assert (await ask(server))["target"] == "thinking-rate=0.5"
        assert (await ask(server, model="cheap"))["target"] == "thinking-rate=0.1"
        assert (await ask(server, model="cheap:auto"))["target"] == "thinking-rate=0.1"
        assert (await ask(server, model="cheap", target="tokens=50"))["target"] == "tokens=50"
        create: Any = server.client.with_options(api_key=KEY).chat.completions.create
        of_key = await create(model="cheap", messages=QUESTION, extra_body={"mode": "auto"})
        assert of_key.model_extra["autotool"]["turns"][0]["target"] == "tokens=90"
        scopes = server.state.metrics.page().decode()
    assert 'autotool_target_bias{scope="key:app",target="tokens=90"}' in scopes
    assert 'autotool_target_bias{scope="alias:cheap",target="thinking-rate=0.1"}' in scopes
    assert "tokens=50" not in scopes  # a client could fill the page with them


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "thinking-rate=2"}, "target: thinking-rate must be a share from 0 to 1, such as thinking-rate=0.3"),
        ({"target": "cheap"}, "target: Write thinking-rate=0.3, tokens=200 or regret=2%"),
        ({"target": "regret=2%"}, "A target of regret needs a measured dial"),
        ({"target": "tokens=50", "reasoning_bias": 1.0}, "reasoning_bias and target disagree"),
    ],
)
async def test_what_a_request_may_not_ask(fields: dict[str, Any], message: str) -> None:
    async with running(scripted("Seven.")) as server:
        with pytest.raises(BadRequestError, match=message) as caught:
            await ask(server, **fields)
    assert caught.value.param == "target"


async def test_a_dial_begins_and_bounds_the_bias(tmp_path: Path) -> None:
    figures = [(-2, 0.5, 50, 0.1), (1, 0.7, 100, 0.5), (3, 0.71, 150, 0.9)]
    names = ("accuracy", "generated_tokens", "thinking_rate")
    steps = [{"bias": bias, "figures": dict(zip(names, rest, strict=True))} for bias, *rest in figures]
    (tmp_path / "dial.json").write_text(json.dumps({"steps": steps}))
    dial = str(tmp_path / "dial.json")
    async with running(scripted("Seven.", log_odds=-50.0), target="thinking-rate=0.5", dial=dial) as server:
        assert (await ask(server))["reasoning_bias"] == 1.0
        assert (await ask(server, target="regret=2%"))["reasoning_bias"] == 1.0
        last = [await ask(server) for _ in range(60)][-1]
    assert last["reasoning_bias"] == 3.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "regret=2%"}, "Setting target: A target of regret needs a measured dial.*Set --dial"),
        ({"target": "cheap"}, r"Setting target .*: Write thinking-rate=0.3"),
        ({"alias_targets": '{"cheap": "tokens=50"}'}, "alias_targets: cheap is none of the model_aliases"),
        ({"alias_targets": '{"cheap": "x"}', "model_aliases": "cheap"}, "Setting alias_targets .*cheap: Write"),
        ({"dial": "DIAL", "max_target_bias": 0.5}, "Setting dial: its biases, 1 to 3, are beyond max_target_bias, 0.5"),
        ({"dial": "none.json"}, "Setting dial: none.json cannot be read"),
        ({"max_target_bias": 0}, "Setting max_target_bias"),
    ],
)
def test_what_settings_may_not_ask(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    if settings.get("dial") == "DIAL":
        figures = {"accuracy": 1, "generated_tokens": 1, "thinking_rate": 1}
        (tmp_path / "dial.json").write_text(json.dumps({"steps": [{"bias": bias, "figures": figures} for bias in (1, 3)]}))
        settings = {**settings, "dial": str(tmp_path / "dial.json")}
    with pytest.raises(AutoToolError, match=message):
        checks.check(load_settings(engine="transformers", **settings))


def test_a_key_may_not_ask_for_regret_without_a_dial(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[keys.app]\nhash = "{hash_of(KEY)}"\ntarget = "regret=2%"\n')
    with pytest.raises(AutoToolError, match=r"keys.app.target: A target of regret needs a measured dial. Set --dial."):
        checks.check(load_settings(engine="transformers", keys=str(keys)))


def test_a_model_that_does_not_decide_has_no_target(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text(BUILTIN["plain"].model_dump_json())
    with pytest.raises(AutoToolError, match="Setting target: auto cannot be served"):
        make_service(scripted("Hi"), Settings(profile=str(file), generation_config="vllm", target="tokens=50"))


async def test_the_warm_up_teaches_no_target() -> None:
    async with running(scripted("Seven."), target="tokens=200") as server:
        await warm_up(server.state.service)
        controller = server.state.service.targets.configured["server"]
        assert (controller.thinking_rate, controller.mean_tokens) == (None, None)


@pytest.mark.parametrize("fields", [{"model": "nope"}, {"mode": "long"}, {"max_completion_tokens": 0}, {"temperature": 9}])
async def test_requests_that_decide_nothing_are_not_followed(fields: dict[str, Any]) -> None:
    async with running(scripted("Seven.")) as server:
        with suppress(APIStatusError):
            await ask(server, target="tokens=50", **fields)
        first = await ask(server, target="tokens=50")
    assert first["reasoning_bias"] == 0.0
    assert server.state.service.targets._requested[None].keys() == {Target.parse("tokens=50")}


def test_each_key_has_its_own_places() -> None:
    targets = Targets(Settings())
    mine = targets.choose(requested=Target("tokens", 50), key="a", of_key=None, model=None)
    for number in range(100):
        targets.choose(requested=Target("tokens", 100 + number), key="b", of_key=None, model=None)
    assert targets.choose(requested=Target("tokens", 50), key="a", of_key=None, model=None) is mine
    assert targets.choose(requested=Target("tokens", 100), key="b", of_key=None, model=None) is not mine
    assert {key: len(held) for key, held in targets._requested.items()} == {"a": 1, "b": MAX_REQUESTED}


def test_threads_get_one_controller() -> None:
    targets = Targets(Settings())
    wanted = Target("tokens", 50)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(targets.choose, requested=wanted, key=None, of_key=None, model=None) for _ in range(400)]
    assert len({id(future.result()) for future in asked}) == 1


async def test_an_answer_that_is_cut_counts_until_then() -> None:
    engine = scripted("Seven is the number of them all.", log_odds=-50.0)
    held(engine, after=6)
    async with running(engine, target="tokens=50") as server:
        create: Any = server.client.chat.completions.create
        chunks = await create(model=MODEL, messages=QUESTION, stream=True, extra_body={"mode": "auto"})
        async for chunk in chunks:
            if chunk.choices[0].delta.content:
                break
        await chunks.close()
        await server.idle()
        tokens = server.state.service.targets.configured["server"].mean_tokens
    assert tokens is not None
    assert 2 <= tokens <= 6
