"""A turn in auto: what the engine is asked to go on with after the decision, and what the client sees of it."""

import asyncio
import math
from typing import Any

import pytest
from openai import InternalServerError
from support.parsing_turns import function_tool
from support.serving import MODEL, held, running, scripted

from autotool_server.engines.base import EngineRequest

QUESTION: list[Any] = [{"role": "user", "content": "How many?"}]
TOOL = function_tool("count", {"things": {"type": "string"}})
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}
SURELY = {"long": 50.0, "short": -50.0}


async def first_request(mode: str, fields: dict[str, Any], log_odds: float = 0.0) -> EngineRequest:
    """Return what the engine is asked first for an answer of this mode."""
    engine = scripted("Seven.", log_odds=log_odds)
    extra = {name: value for name, value in fields.items() if name not in {"tools", "response_format", "temperature"}}
    asked = {name: value for name, value in fields.items() if name not in extra}
    async with running(engine) as server:
        create: Any = server.client.chat.completions.create
        await create(model=MODEL, messages=QUESTION, extra_body={"mode": mode, **extra}, **asked)
    return engine.requests[0]


@pytest.mark.parametrize("resolved", ["long", "short"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.3, "logprobs": True, "top_logprobs": 2, "top_k": 5},
        {"max_reasoning_tokens": 0},
        {"max_reasoning_tokens": 20},
        {"max_completion_tokens": 9},
        {"min_tokens": 3, "stop_token_ids": [5]},
        {"ignore_eos": True},
        {"response_format": FORMAT},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required", "max_reasoning_tokens": 10},
    ],
    ids=lambda fields: "-".join(fields) or "plain",
)
async def test_a_decided_turn_goes_on_as_a_forced_one_begins(resolved: str, fields: dict[str, Any]) -> None:
    decided = await first_request("auto", fields, SURELY[resolved])
    forced = await first_request(resolved, fields)
    assert list(decided.prompt_ids) == list(forced.prompt_ids)
    for name in ("stop_token_ids", "min_tokens", "sampling", "structural_tag", "logprobs", "priority"):
        assert getattr(decided, name) == getattr(forced, name), name
    # The decision token counts towards a limit that is the whole turn's.
    assert forced.max_tokens - 1 <= decided.max_tokens <= forced.max_tokens


@pytest.mark.parametrize("log_odds", [math.nan, math.inf])
async def test_a_decision_whose_probabilities_are_no_numbers(log_odds: float) -> None:
    async with running(scripted("Seven.", log_odds=log_odds)) as server:
        with pytest.raises(InternalServerError, match="no numbers"):
            await server.client.chat.completions.create(model=MODEL, messages=QUESTION)
        await server.idle()


async def test_a_stream_begins_with_the_decision() -> None:
    engine = scripted("Seven.", log_odds=-50.0)
    release = held(engine, after=1)
    async with running(engine) as server:
        create: Any = server.client.chat.completions.create
        chunks = await create(model=MODEL, messages=QUESTION, stream=True, extra_body={"mode": "auto"})
        async with asyncio.timeout(30):
            first = await anext(aiter(chunks))
        assert (first.choices[0].delta.role, first.choices[0].delta.content or "") == ("assistant", "")
        release.set()
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]) == "Seven."


async def test_a_client_that_leaves_after_the_decision_leaves_nothing() -> None:
    engine = scripted("Seven.", log_odds=50.0)
    held(engine, after=1)
    async with running(engine) as server:
        create: Any = server.client.chat.completions.create
        chunks = await create(model=MODEL, messages=QUESTION, stream=True, extra_body={"mode": "auto"})
        await anext(aiter(chunks))
        assert engine.in_flight() == 1
        await chunks.close()
        async with asyncio.timeout(30):
            while engine.in_flight():  # noqa: ASYNC110 the engine has no event for this
                await asyncio.sleep(0.01)
