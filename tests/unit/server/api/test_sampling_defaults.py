"""Requests that leave their sampling out get the server's, over every protocol."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from support.serving import MODEL, Running, running, scripted

from autotool_server.engines.base import Sampling

OVERRIDE = {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1}
DEFAULTS = Sampling(**OVERRIDE)
USER = [{"role": "user", "content": "?"}]
Ask = Callable[..., Awaitable[dict[str, Any]]]


def asking(path: str, **body: Any) -> Ask:
    async def ask(server: Running, **fields: Any) -> dict[str, Any]:
        async with httpx.AsyncClient() as client:
            response = await client.post(f"{server.url}/{path}", json={"model": MODEL, **body, **fields})
        assert response.status_code == 200, response.text
        return response.json()

    return ask


PROTOCOLS = {
    "chat": asking("chat/completions", messages=USER, mode="short"),
    "responses": asking("responses", input="?", mode="short"),
    "messages": asking("messages", messages=USER, mode="short", max_tokens=20),
    "completions": asking("completions", prompt="?"),
}


@pytest.fixture(params=PROTOCOLS.values(), ids=list(PROTOCOLS))
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


async def test_what_is_left_out_is_the_servers(ask: Ask) -> None:
    engine = scripted("Hi.")
    async with running(engine, override_generation_config=OVERRIDE) as server:
        await ask(server)
    assert engine.requests[-1].sampling == DEFAULTS


async def test_what_is_sent_is_kept(ask: Ask) -> None:
    engine = scripted("Hi.")
    async with running(engine, override_generation_config=OVERRIDE) as server:
        await ask(server, temperature=1.0, top_p=1.0)
    sampling = engine.requests[-1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (1.0, 1.0, 20)


async def test_a_null_is_left_out(ask: Ask) -> None:
    engine = scripted("Hi.")
    async with running(engine, override_generation_config=OVERRIDE) as server:
        await ask(server, temperature=None)
    assert engine.requests[-1].sampling == DEFAULTS


async def test_without_a_generation_config_the_models_own_probabilities_hold(ask: Ask) -> None:
    engine = scripted("Hi.")
    async with running(engine) as server:
        await ask(server)
    assert engine.requests[-1].sampling == Sampling()


async def test_the_operators_limit_bounds_every_answer(ask: Ask) -> None:
    engine = scripted("A long answer, of far more tokens than four.")
    async with running(engine, override_generation_config={"max_new_tokens": 4}) as server:
        answer = await ask(server)
    usage = answer["usage"]
    assert usage.get("completion_tokens", usage.get("output_tokens")) == 4


async def test_the_decision_is_drawn_at_the_servers_temperature() -> None:
    """The likelier mode is taken every time at temperature 0; both come at 1."""
    resolved: dict[float, set[str]] = {}
    for temperature in (0.0, 1.0):
        engine = scripted("Hm.\n</think>\n\nHi.", log_odds=0.2)
        async with running(engine, override_generation_config={"temperature": temperature}) as server:
            answers = [await PROTOCOLS["chat"](server, mode="auto", seed=seed) for seed in range(12)]
        resolved[temperature] = {answer["autotool"]["turns"][0]["resolved"] for answer in answers}
    assert resolved == {0.0: {"long"}, 1.0: {"long", "short"}}


async def test_choices_have_the_servers_sampling_and_seeds_of_their_own() -> None:
    engine = scripted("Hi.")
    async with running(engine, override_generation_config=OVERRIDE) as server:
        await PROTOCOLS["chat"](server, n=2, seed=5)
    assert {request.sampling.temperature for request in engine.requests} == {0.5}
    assert sorted(request.sampling.seed or 0 for request in engine.requests) == [5, 6]


async def test_a_response_and_the_models_list_show_the_sampling_that_holds() -> None:
    async with running(scripted("Hi."), override_generation_config=OVERRIDE) as server:
        response = await PROTOCOLS["responses"](server)
        assert (response["temperature"], response["top_p"], response["presence_penalty"]) == (0.5, 0.9, 0.0)
        response = await PROTOCOLS["responses"](server, temperature=0.0)
        assert (response["temperature"], response["top_p"]) == (0.0, 0.9)
        models = [model async for model in server.client.models.list()]
    shown = (models[0].model_extra or {})["default_sampling"]
    assert shown == OVERRIDE | {"presence_penalty": 0.0, "frequency_penalty": 0.0}
