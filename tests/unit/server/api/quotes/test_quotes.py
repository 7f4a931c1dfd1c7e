"""Quotes over HTTP: the mode that a chat would have, what earlier answers took, and what is never done for a quote."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.keys import client_of, write_keys
from support.serving import MODEL, Running, running, scripted
from support.tools import ADD_1_2, QUESTION, adder, named, with_tools

from autotool_server.engines.scripted import ScriptedEngine

Json = dict[str, Any]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def tools(*names: str) -> list[Json]:
    return [{"type": "function", "function": {"name": name, "parameters": CITY}} for name in names]


async def post(server: Running, path: str = "/quote", **fields: Any) -> Json:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], **fields}
    answer: Any = await server.client.post(f"/chat/completions{path}", body=body, cast_to=object)
    return answer


async def chat(server: Running, **fields: Any) -> Json:
    return await post(server, "", **fields)


class Noting(ScriptedEngine):
    """Keeps the prompts that are scored."""

    def __init__(self, log_odds: float = 0.0, text: str = "Yes.") -> None:
        inner = scripted(text)
        super().__init__(inner.tokenizer, inner.eos_token_ids, inner.script, log_odds=log_odds)
        self.scored: list[list[int]] = []

    async def score(self, request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...], **options: Any) -> Any:
        self.scored.append([*prompt_ids])
        return await super().score(request_id, prompt_ids, candidates, **options)


@pytest.mark.parametrize("fields", [{}, {"reasoning_bias": 1.5}, {"temperature": 0.3}, {"reasoning_effort": "low"}], ids=str)
async def test_with_a_seed_it_is_the_mode_that_the_chat_draws(fields: Json) -> None:
    async with running(Noting(-0.3)) as server:
        quoted, drawn = list[str](), list[str]()
        for seed in range(12):
            quote = await post(server, mode="auto", seed=seed, **fields)
            assert quote["long_probability"] == float(quote["resolved"] == "long")
            quoted.append(quote["resolved"])
            drawn.append((await chat(server, mode="auto", seed=seed, **fields))["autotool"]["turns"][0]["resolved"])
    assert quoted == drawn
    assert len(set(quoted)) == 2 or fields


async def test_without_a_seed_it_is_the_likelier_mode_and_its_probability() -> None:
    async with running(Noting(math.log(3))) as server:
        plain = await post(server, mode="auto", temperature=1)
        biased = await post(server, mode="auto", temperature=0.5, reasoning_bias=-2 * math.log(3))
        greedy = await post(server, mode="auto", temperature=0)
    assert (plain["resolved"], plain["p_long"], plain["long_probability"]) == ("long", *[pytest.approx(0.75)] * 2)
    assert (biased["resolved"], biased["p_long"], biased["long_probability"]) == ("short", *map(pytest.approx, (0.75, 0.1)))
    assert biased["reasoning_bias"] == pytest.approx(-2 * math.log(3))
    assert (greedy["resolved"], greedy["long_probability"]) == ("long", 1.0)


async def test_the_prompt_is_the_one_of_the_chat() -> None:
    """So that the chat finds it in the engine's cache; where nothing is decided, it is computed too."""
    engine = Noting()
    async with running(engine) as server:
        quote = await post(server, mode="auto", tools=tools("weather"))
        await chat(server, mode="auto", tools=tools("weather"))
        quoted, decided = engine.scored
        assert quoted == decided
        assert quote["prompt_tokens"] == len(quoted)
        quote = await post(server, mode="long", tools=tools("weather"))
        await chat(server, mode="long", tools=tools("weather"))
        assert [*engine.requests[-1].prompt_ids][: quote["prompt_tokens"]] == engine.scored[-1]
    assert len(engine.scored) == 3
    assert (quote["resolved"], quote["p_long"], quote["long_probability"]) == ("long", None, 1.0)


async def test_without_history_nothing_is_quoted() -> None:
    async with running(Noting()) as server:
        quote = await post(server, mode="auto")
    assert quote["completion_tokens"] is quote["seconds"] is None
    assert quote["history"] == {mode: {"level": "none", "answers": 0} for mode in ("long", "short")}


async def test_history_is_of_the_tools_and_else_of_the_mode() -> None:
    async with running(Noting()) as server:
        for _ in range(19):
            await chat(server, mode="short", tools=tools("weather", "clock"))
        await chat(server, mode="short")
        quotes = [await post(server, mode="short", tools=given) for given in (tools("clock", "weather"), tools("clock"), [])]
        long = await post(server, mode="long")
    assert [quote["history"] for quote in quotes] == [
        {"short": {"level": "tools", "answers": 19}},
        {"short": {"level": "mode", "answers": 20}},
        {"short": {"level": "mode", "answers": 20}},
    ]
    assert long["history"] == {"long": {"level": "none", "answers": 0}}


async def test_tokens_are_those_of_earlier_answers_within_the_limit() -> None:
    async with running(Noting(text="one two three four five six")) as server:
        answer = await chat(server, mode="short")
        free = await post(server, mode="short")
        tight = await post(server, mode="short", max_tokens=3)
    used = answer["usage"]["completion_tokens"]
    assert free["completion_tokens"] == {"p5": used, "p50": used, "p95": used}
    assert tight["completion_tokens"]["p95"] == 3 < used
    assert tight["seconds"]["p95"] == pytest.approx(free["seconds"]["p95"] * 3 / used)


async def test_the_limit_of_auto_counts_the_decision() -> None:
    async with running(Noting(-50.0, "one two three four five six")) as server:
        answers = [await chat(server, mode="auto", seed=1, max_tokens=limit) for limit in (3, 50)]
        quote = await post(server, mode="auto", seed=1, max_tokens=3)
    assert [answers[0]["usage"]["completion_tokens"], quote["completion_tokens"]["p95"]] == [3, 3]
    assert answers[1]["usage"]["completion_tokens"] > 3


async def test_a_mode_of_which_nothing_is_known() -> None:
    """Below one in twenty it is left out; above, nothing is quoted."""
    async with running(Noting(-2.0)) as server:
        await chat(server, mode="short")
        rare = await post(server, mode="auto", reasoning_bias=-2)
        likely = await post(server, mode="auto")
    assert rare["completion_tokens"] is not None
    assert likely["completion_tokens"] is None
    assert likely["history"]["short"]["answers"] == 1


async def test_quotes_and_what_fails_are_no_history() -> None:
    async with running(Noting()) as server:
        await post(server, mode="short")
        with pytest.raises(Exception, match="mode"):
            await chat(server, mode="sideways")
        assert (await post(server, mode="short"))["history"]["short"]["answers"] == 0
        await chat(server, mode="short", n=2)
        assert (await post(server, mode="short"))["history"]["short"]["answers"] == 2


async def test_a_stream_is_quoted_as_one_object() -> None:
    async with running(Noting()) as server:
        assert (await post(server, mode="auto", stream=True, n=2, unheard_of=1))["object"] == "chat.completion.quote"


async def test_no_tool_is_run_and_no_call_approved() -> None:
    guarded = adder()
    async with with_tools(scripted(*[ADD_1_2] * 3, "It is 3."), guarded) as server, client_of(server) as client:
        body: Json = {"model": MODEL, "messages": QUESTION, "mode": "short", "tools": named("math.add")}
        quote = (await client.post("/v1/chat/completions/quote", json=body)).json()
        assert quote["resolved"] == "short"
        assert guarded.calls == []
        refused = await client.post("/v1/chat/completions/quote", json=body | {"tool_approvals": {"call_1": True}})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tool_approvals")


async def test_a_loop_counts_all_of_its_turns() -> None:
    async with with_tools(scripted(ADD_1_2, "It is 3."), adder()) as server, client_of(server) as client:
        body: Json = {"model": MODEL, "messages": QUESTION, "mode": "short", "tools": named("math.add")}
        answer = (await client.post("/v1/chat/completions", json=body)).json()
        assert len(answer["autotool"]["turns"]) == 2
        quotes = [
            (await client.post("/v1/chat/completions/quote", json=body | limit)).json() for limit in ({}, {"max_tokens": 5})
        ]
    assert quotes[0]["completion_tokens"]["p50"] == answer["usage"]["completion_tokens"] > 5
    assert quotes[1]["completion_tokens"]["p50"] == 5


async def test_a_key_pays_for_the_prompt_and_one_token(tmp_path: Path) -> None:
    keys = write_keys(tmp_path, alice={"modes": ["short"]})
    async with running(Noting(), keys=keys) as server, client_of(server, "alice") as client:
        body: Json = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short"}
        quote: httpx.Response = await client.post("/v1/chat/completions/quote", json=body)
        assert (await client.post("/v1/chat/completions/quote", json=body | {"mode": "auto"})).status_code == 403
        used = (await client.get("/v1/usage")).json()["today"]["by_mode"]["quote"]
    assert used["prompt_tokens"] == quote.json()["prompt_tokens"] == quote.json()["usage"]["prompt_tokens"]
    assert used["completion_tokens"] == 1
