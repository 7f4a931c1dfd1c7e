"""Answers and chunks have OpenAI's keys to the letter: what is null, what is absent."""

import json
from typing import Any

import httpx
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from support.serving import running, scripted

USER = [{"role": "user", "content": "2+2?"}]
THOUGHT = "Hm.\n</think>\n\n"
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
TOOL = {"type": "function", "function": {"name": "f"}}


async def whole(text: str, **fields: Any) -> dict[str, Any]:
    async with running(scripted(text)) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short"} | fields
        answer = (await client.post(f"{server.url}/chat/completions", json=body)).json()
    ChatCompletion.model_validate(answer, strict=True)
    return answer


async def chunks(text: str, **fields: Any) -> list[dict[str, Any]]:
    async with running(scripted(text)) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short", "stream": True} | fields
        events = (await client.post(f"{server.url}/chat/completions", json=body)).text.strip().split("\n\n")
    assert events.pop() == "data: [DONE]"
    read = [json.loads(event.removeprefix("data: ")) for event in events]
    for chunk in read:
        ChatCompletionChunk.model_validate(chunk)
    return read


async def test_a_message_has_these_keys_and_no_others() -> None:
    message = (await whole("Four."))["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Four.", "refusal": None, "annotations": []}


async def test_a_message_with_reasoning_and_calls() -> None:
    message = (await whole(THOUGHT + CALL, mode="long", tools=[TOOL]))["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, None)
    assert set(message) == {"role", "content", "refusal", "annotations", "reasoning", "reasoning_content", "tool_calls"}
    assert set(message["tool_calls"][0]) == {"id", "type", "function"}


async def test_an_answer_has_these_keys() -> None:
    answer = await whole("Four.")
    known = {"id", "object", "created", "model", "system_fingerprint", "choices", "usage", "autotool"}
    assert set(answer) == known
    assert set(answer["choices"][0]) == {"index", "message", "logprobs", "finish_reason"}
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 0}
    details = {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
    assert answer["usage"]["completion_tokens_details"] == details


async def test_the_service_tier_is_told_to_those_who_ask() -> None:
    assert (await whole("Four.", service_tier="flex"))["service_tier"] == "default"
    assert all(chunk["service_tier"] == "default" for chunk in await chunks("Four.", service_tier="auto"))


async def test_logprobs_have_a_null_refusal() -> None:
    logprobs = (await whole("a", logprobs=True))["choices"][0]["logprobs"]
    assert (len(logprobs["content"]), logprobs["refusal"]) == (1, None)
    streamed = [choice["logprobs"] for chunk in await chunks("a", logprobs=True) for choice in chunk["choices"]]
    assert [part["refusal"] for part in streamed if part] == [None]


@pytest.mark.parametrize("include", [True, False])
async def test_usage_is_null_in_all_chunks_but_the_last(include: bool) -> None:
    read = await chunks("Four.", stream_options={"include_usage": include})
    if include:
        assert all(chunk["usage"] is None for chunk in read[:-1])
        assert (read[-1]["choices"], read[-1]["usage"]["completion_tokens"]) == ([], 6)
    else:
        assert all("usage" not in chunk for chunk in read)


async def test_a_stream_begins_with_the_role_and_ends_with_an_empty_delta() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in await chunks("ab")]
    first = {"role": "assistant", "content": "", "refusal": None}
    assert deltas == [first, {"content": "a"}, {"content": "b"}, {}]


async def test_every_chunk_has_these_keys() -> None:
    read = await chunks(THOUGHT + CALL, mode="long", tools=[TOOL])
    known = {"id", "object", "created", "model", "system_fingerprint", "choices"}
    assert all(set(chunk) - {"autotool"} == known for chunk in read)
    assert all(set(chunk["choices"][0]) == {"index", "delta", "logprobs", "finish_reason"} for chunk in read)
    assert len({(chunk["id"], chunk["created"], chunk["system_fingerprint"]) for chunk in read}) == 1


async def test_no_delta_of_an_answer_without_reasoning_names_it() -> None:
    assert "reasoning" not in json.dumps([chunk["choices"] for chunk in await chunks("Four.")])
