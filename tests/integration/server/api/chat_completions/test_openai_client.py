"""The official `openai` client, unchanged, over every engine: chat, stream, a tool and its result, JSON by schema.

What takes many tokens is asked for in all modes at once, since one batch takes little longer than one request.
"""

import asyncio
import json
from itertools import cycle
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel
from support.engines import MAX_NUM_SEQS
from support.serving import MODEL, Running

MODES = ("long", "short", "auto")
USER: Any = [{"role": "user", "content": "What is the weather in Rome?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Look up the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome"]}}, "required": ["city"]},
    },
}


class Place(BaseModel):
    city: Literal["Rome"]  # a free string can keep a small model busy for ever
    rain: bool


def extra(mode: str) -> dict[str, Any]:
    return {"mode": mode, "max_reasoning_tokens": 8}


@pytest.mark.parametrize("mode", MODES)
async def test_chat(server: Running, mode: str) -> None:
    completion = await server.client.chat.completions.create(
        model=f"{MODEL}:{mode}", messages=USER, max_completion_tokens=8, extra_body={"max_reasoning_tokens": 8}
    )
    assert completion.choices[0].message.role == "assistant"
    assert completion.usage is not None
    assert 0 < completion.usage.completion_tokens <= 17


@pytest.mark.parametrize("mode", MODES)
async def test_stream(server: Running, mode: str) -> None:
    chunks = [
        chunk
        async for chunk in await server.client.chat.completions.create(
            model=MODEL, messages=USER, max_completion_tokens=8, stream=True, extra_body=extra(mode)
        )
    ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    assert any(chunk.choices[0].delta.content for chunk in chunks)


async def test_tool_and_its_result(server: Running) -> None:
    await asyncio.gather(*(call_and_answer(server, mode) for mode in MODES))


async def call_and_answer(server: Running, mode: str) -> None:
    create = server.client.chat.completions.create
    called = await create(
        model=MODEL, messages=USER, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, extra_body=extra(mode)
    )
    message: Any = called.choices[0].message
    assert called.choices[0].finish_reason == "tool_calls"
    assert json.loads(message.tool_calls[0].function.arguments)["city"] == "Rome"
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "Sunny, 21 degrees."}
    answered = await create(
        model=MODEL, messages=[*USER, message, result], tools=[WEATHER], max_completion_tokens=8, extra_body=extra(mode)
    )
    assert answered.usage is not None
    assert called.usage is not None
    assert answered.usage.prompt_tokens > called.usage.prompt_tokens


@pytest.mark.parametrize("mode", MODES)
async def test_json_by_schema(server: Running, mode: str) -> None:
    completion = await server.client.chat.completions.parse(
        model=MODEL, messages=USER, response_format=Place, temperature=0, logit_bias={}, extra_body=extra(mode)
    )
    assert isinstance(completion.choices[0].message.parsed, Place)


async def test_models_and_health(server: Running) -> None:
    names = [model.id async for model in server.client.models.list()]
    assert names == [MODEL]
    async with httpx.AsyncClient(base_url=server.url.removesuffix("/v1")) as client:
        assert (await client.get("/health/ready")).status_code == 200
        page = (await client.get("/metrics")).text
    assert "autotool_requests_total" in page
    if server.state.service.engine.name == "vllm":
        assert "vllm:" in page


async def test_p_long_is_the_models_own(server: Running) -> None:
    """Bias and temperature move the decision, not what is recorded; every engine records the same."""
    seen = set()
    for bias in (-2.0, 0.0, 2.0):
        body = {"mode": "auto", "reasoning_bias": bias, "max_reasoning_tokens": 1}
        completion = await server.client.chat.completions.create(
            model=MODEL, messages=USER, max_completion_tokens=1, temperature=0.5, extra_body=body
        )
        seen.add(round((completion.model_extra or {})["autotool"]["turns"][0]["p_long"], 3))
    assert len(seen) == 1


async def test_every_sampling_field_is_taken(server: Running) -> None:
    completion = await server.client.chat.completions.create(
        model=MODEL,
        messages=USER,
        max_completion_tokens=4,
        temperature=0.7,
        top_p=0.9,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        n=2,
        stop=["\n\n\n"],
        seed=3,
        logprobs=True,
        top_logprobs=3,
        logit_bias={"100": -5},
        user="someone",
        extra_body={"mode": "short", "top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1},
    )
    assert [choice.index for choice in completion.choices] == [0, 1]
    for choice in completion.choices:
        assert choice.logprobs is not None
        assert all(len(entry.top_logprobs) == 3 for entry in choice.logprobs.content or [])


async def test_conversation_hits_the_cache(server: Running) -> None:
    """What was generated, sent back as messages, renders to the tokens that are in the cache already."""
    messages: Any = [{"role": "user", "content": "Tell me about the history of the city of Rome in a few sentences, please."}]
    # The untrained model would begin its reasoning with a newline, which the template takes for format.
    newline = server.state.tokenizer.encode("\n", add_special_tokens=False)[0]
    body: dict[str, Any] = {"model": MODEL, "temperature": 0, "logit_bias": {str(newline): -100}, "extra_body": extra("long")}
    first = await server.client.chat.completions.create(messages=messages, max_completion_tokens=48, **body)
    follow_up = [*messages, first.choices[0].message, {"role": "user", "content": "Go on."}]
    second = await server.client.chat.completions.create(messages=follow_up, max_completion_tokens=1, **body)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    block = 32
    # All but the last, incomplete block, and the token whose cache entry was never written.
    assert (second.usage.prompt_tokens_details.cached_tokens or 0) > first.usage.total_tokens - 2 * block


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_leaving_frees_the_engine(server: Running, stream: bool) -> None:
    """Hang up while some of the requests wait, some decide, some reason and some answer."""
    body = {"model": MODEL, "messages": USER, "stream": stream, "max_completion_tokens": 2000}
    async with httpx.AsyncClient(timeout=60) as client:
        bodies = [body | {"mode": mode} for mode, _ in zip(cycle(MODES), range(MAX_NUM_SEQS + 4), strict=False)]
        requests = [asyncio.create_task(client.post(f"{server.url}/chat/completions", json=one)) for one in bodies]
        for request in requests:
            await asyncio.sleep(0.1)
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
    await server.idle()
    async with asyncio.timeout(60):
        await server.client.chat.completions.create(model=MODEL, messages=USER, max_completion_tokens=1)


async def test_refusals_leave_nothing_behind(server: Running) -> None:
    unsupported = {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}
    refused_bodies: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": "x " * 5000}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": unsupported}}},
        {"extra_body": {"mode": "fast"}},
    ]
    for bad in refused_bodies:
        with pytest.raises(openai.BadRequestError) as refused:
            await server.client.chat.completions.create(**{"model": MODEL, "messages": USER, **bad})
        assert refused.value.param
    await server.idle()
