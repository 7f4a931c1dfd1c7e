"""The time by which the engine orders requests, where short ones pass long ones: one for all steps and turns of a request."""

import time
from typing import Any

import pytest
from support.serving import MODEL, Running, running, scripted
from support.tools import ADD_1_2, QUESTION, adder, called, named, with_tools

from autotool_server.engines.base import Score
from autotool_server.engines.scripted import ScriptedEngine

THOUGHT = "one two three four five six seven eight"
LONG = f"{THOUGHT}</think>\n\nYes."
CALLS = {"a call": ADD_1_2, "a call that is escalated": called("math.add", {"a": 1})}


class Deciding(ScriptedEngine):
    """Keeps the due times of its scores."""

    def __init__(self, *texts: str) -> None:
        inner = scripted(*texts)
        super().__init__(inner.tokenizer, inner.eos_token_ids, inner.script, log_odds=-50.0)
        self.dues: list[float | None] = []

    async def score(self, *given: Any, due: float | None = None, **options: Any) -> Score:
        self.dues.append(due)
        return await super().score(*given, due=due, **options)


async def chat(server: Running, **fields: Any) -> None:
    body = {"model": MODEL, "messages": QUESTION, **fields}
    await server.client.post("/chat/completions", body=body, cast_to=object)


async def dues(server: Running, engine: ScriptedEngine, **fields: Any) -> list[float | None]:
    """Return the due times of the engine's requests for one of the client, before which a long answer has ended."""
    await chat(server, mode="long")
    num_before = len(engine.requests)
    await chat(server, **fields)
    return [request.due for request in engine.requests[num_before:]]


@pytest.mark.parametrize("mode", ["long", "auto"])
async def test_the_answer_after_a_thought_that_was_ended_has_that_of_the_thought(mode: str) -> None:
    engine = scripted(LONG, THOUGHT, log_odds=50.0)
    async with running(engine, short_first_seconds=1000) as server:
        before = time.perf_counter()
        thought, answer = await dues(server, engine, mode=mode, max_reasoning_tokens=5)
    assert thought == answer
    assert thought is not None
    assert before < thought < time.perf_counter() + 1000


@pytest.mark.parametrize("call", CALLS)
async def test_later_turns_of_a_tool_loop_have_that_of_the_first(call: str) -> None:
    engine = scripted(LONG, CALLS[call], "Hm.</think>\n\nIt is 3.")
    async with with_tools(engine, adder(), short_first_seconds=1000, escalate=True) as server:
        first, second = await dues(server, engine, mode="short", tools=named("math.add"))
    assert first == second
    assert first is not None


async def test_decisions_have_that_of_their_turns() -> None:
    engine = Deciding(LONG, ADD_1_2, "It is 3.")
    async with with_tools(engine, adder(), short_first_seconds=1000) as server:
        turns = await dues(server, engine, mode="auto", tools=named("math.add"))
    assert {*engine.dues} == {*turns}
    assert len({*turns} - {None}) == 1


async def test_without_the_option_there_is_none() -> None:
    engine = scripted(LONG, THOUGHT)
    async with running(engine) as server:
        assert await dues(server, engine, mode="long", max_reasoning_tokens=5) == [None, None]
