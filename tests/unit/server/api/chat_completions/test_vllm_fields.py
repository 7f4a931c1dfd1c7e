"""vLLM's fields: when the answer ends, what it shows, and what is beside it."""

import json
from typing import Any

import httpx
import pytest
from support.serving import MODEL, Running, running, scripted

from autotool_server.engines.scripted import ScriptedEngine

USER: Any = [{"role": "user", "content": "2+2?"}]
THOUGHT = "Hm.\n</think>\n\n"


async def post(server: Running, **fields: Any) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short", "temperature": 0} | fields
        response = await client.post(f"{server.url}/chat/completions", json=body)
        assert response.status_code == 200, response.text
        assert "x-autotool-ignored" not in response.headers
        return response.json()


async def error(server: Running, **fields: Any) -> tuple[int, str]:
    async with httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short"} | fields
        response = await client.post(f"{server.url}/chat/completions", json=body)
        return response.status_code, response.json()["error"]["param"]


async def chunks(server: Running, **fields: Any) -> list[dict[str, Any]]:
    async with httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short", "stream": True} | fields
        lines = (await client.post(f"{server.url}/chat/completions", json=body)).text.strip().split("\n\n")
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def content(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


def token(engine: ScriptedEngine, text: str) -> int:
    [token_id] = engine.tokenizer.encode(text, add_special_tokens=False)
    return token_id


async def test_ignore_eos_goes_on_behind_the_end_of_the_turn() -> None:
    engine = scripted("One.<|im_end|>Two.")
    async with running(engine) as server:
        assert content(await post(server)) == "One."
        answer = await post(server, ignore_eos=True, max_tokens=8)
        assert (content(answer), answer["choices"][0]["finish_reason"]) == ("One.Two", "length")
        assert answer["usage"]["completion_tokens"] == 8
        assert engine.requests[-1].stop_token_ids == ()


async def test_a_stop_token_ends_the_answer_and_is_no_part_of_it() -> None:
    engine = scripted("One, two.")
    async with running(engine) as server:
        comma = token(engine, ",")
        choice = (await post(server, stop_token_ids=[comma]))["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"], choice["stop_reason"]) == ("One", "stop", comma)
        assert engine.requests[-1].stop_token_ids == (*engine.eos_token_ids, comma)


async def test_a_stop_token_spares_the_reasoning() -> None:
    engine = scripted("Well, yes.\n</think>", "One, two.")
    async with running(engine) as server:
        message = (await post(server, mode="long", stop_token_ids=[token(engine, ",")]))["choices"][0]["message"]
        assert (message["reasoning"], message["content"]) == ("Well, yes.", "One")


async def test_a_stop_token_ends_an_answer_that_has_a_grammar() -> None:
    engine = scripted('{"a": 1, "b": 2}')
    async with running(engine) as server:
        fields = {"stop_token_ids": [token(engine, ",")], "response_format": {"type": "json_object"}}
        choice = (await post(server, **fields))["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ('{"a": 1', "stop")
        assert engine.requests[0].stop_token_ids == engine.eos_token_ids
        await server.idle()
        assert len(engine.aborted) == 1


async def test_text_that_was_held_back_comes_before_a_stop_token() -> None:
    engine = scripted("a  <b")
    async with running(engine) as server:
        tools = [{"type": "function", "function": {"name": "f"}}]
        answer = await post(server, stop_token_ids=[token(engine, "b")], tools=tools, stop=[" <c"])
        assert content(answer) == "a  <"


async def test_the_stop_string_is_told_too_and_the_end_of_the_turn_is_not() -> None:
    async with running(scripted("One, two.")) as server:
        assert (await post(server, stop=[", t"]))["choices"][0]["stop_reason"] == ", t"
        assert "stop_reason" not in (await post(server))["choices"][0]


async def test_min_tokens_reach_the_engine_and_delay_stop_strings() -> None:
    engine = scripted("a.b.c.d.")
    async with running(engine) as server:
        assert content(await post(server, stop=["."], min_tokens=3)) == "a.b"
        assert content(await post(server, stop=["."], min_tokens=4)) == "a.b.c"
        assert [request.min_tokens for request in engine.requests] == [3, 4]


async def test_min_tokens_of_an_answer_behind_reasoning() -> None:
    engine = scripted(THOUGHT, "Four.")
    async with running(engine) as server:
        await post(server, mode="long", min_tokens=3, max_reasoning_tokens=50)
        assert [request.min_tokens for request in engine.requests] == [0, 3]


async def test_min_tokens_above_max_tokens_are_refused() -> None:
    async with running(scripted("x")) as server:
        assert await error(server, min_tokens=5, max_completion_tokens=4) == (400, "min_tokens")


async def test_stop_tokens_outside_the_vocabulary_are_refused() -> None:
    async with running(scripted("x")) as server:
        assert await error(server, stop_token_ids=[10**6]) == (400, "stop_token_ids")


async def test_special_tokens_are_shown_on_request_but_not_the_one_that_ends_the_answer() -> None:
    engine = scripted("a<|im_end|>b.c")
    async with running(engine) as server:
        fields = {"ignore_eos": True, "stop_token_ids": [token(engine, ".")]}
        assert content(await post(server, **fields)) == "ab"
        assert content(await post(server, **fields, skip_special_tokens=False)) == "a<|im_end|>b"
        assert content(await post(server, skip_special_tokens=False)) == "a"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_reasoning_can_be_left_out(stream: bool) -> None:
    async with running(scripted(f"{THOUGHT}Four.")) as server:
        fields = {"mode": "long", "include_reasoning": False, "return_token_ids": True}
        parts = await chunks(server, **fields) if stream else [await post(server, **fields)]
    assert 'reasoning"' not in json.dumps([part["choices"] for part in parts])
    assert "reasoning_content" not in json.dumps(parts)
    assert "token_ids" not in json.dumps(parts)
    assert parts[-1]["autotool"]["turns"][0]["reasoning_tokens"] > 0


async def test_a_thinking_token_budget_is_a_limit_of_the_reasoning() -> None:
    engine = scripted("x" * 50, "Four.")
    async with running(engine) as server:
        message = (await post(server, mode="long", thinking_token_budget=5))["choices"][0]["message"]
        assert (message["reasoning"], message["content"]) == ("xxxxx", "Four.")
        assert await error(server, thinking_token_budget=5, max_reasoning_tokens=6) == (400, "thinking_token_budget")
        await post(server, thinking_token_budget=-1, max_reasoning_tokens=6)


async def test_a_thinking_token_budget_of_minus_one_lifts_the_servers_limit() -> None:
    text = "x" * 50
    async with running(scripted(f"{text}\n</think>\n\nFour."), default_max_reasoning_tokens=3) as server:
        for fields in ({}, {"reasoning_effort": "high"}, {"max_tokens": 100}):
            message = (await post(server, mode="long", thinking_token_budget=-1, **fields))["choices"][0]["message"]
            assert (message["reasoning"], message["content"]) == (text, "Four.")
    async with running(scripted(text), default_max_reasoning_tokens=3) as server:
        assert (await post(server, mode="long"))["choices"][0]["message"]["reasoning"] == "xxx"
        cut = (await post(server, mode="long", thinking_token_budget=-1, max_tokens=20))["choices"][0]["message"]
        assert 3 < len(cut["reasoning"]) <= 20


async def test_continuous_usage_counts_up_in_every_chunk() -> None:
    async with running(scripted("Four.")) as server:
        options = {"include_usage": True, "continuous_usage_stats": True}
        counts = [chunk["usage"]["completion_tokens"] for chunk in await chunks(server, stream_options=options)]
        assert counts == sorted(counts)
        assert (counts[0], counts[-1]) == (1, 6)
        alone = await chunks(server, stream_options={"continuous_usage_stats": True})
        assert all("usage" not in chunk for chunk in alone)


async def test_decisions_are_events_of_the_stream_for_those_who_ask() -> None:
    async with running(scripted("</think>\n\nFour.", log_odds=2.0)) as server:
        options = {"include_decision": True}
        read = await chunks(server, stream_options=options, mode="auto", temperature=0, n=2, reasoning_bias=1.0)
        events = [chunk["autotool"] for chunk in read if chunk.get("autotool", {}).get("event") == "decision"]
        assert [(event["choice"], event["turn"], event["resolved"]) for event in events] == [(0, 0, "long"), (1, 0, "long")]
        assert [(round(event["p_long"], 3), event["reasoning_bias"]) for event in events] == [(0.881, 1.0)] * 2
        before = read.index(next(chunk for chunk in read if chunk.get("autotool")))
        assert not any(choice["delta"].get("content") for chunk in read[:before] for choice in chunk["choices"])
        for fields in ({"mode": "long", "stream_options": options}, {"mode": "auto"}):
            assert not any("event" in chunk.get("autotool", {}) for chunk in await chunks(server, **fields))


async def test_priority_reaches_the_engine() -> None:
    engine = scripted("x")
    async with running(engine) as server:
        await post(server, priority=-3)
        assert engine.requests[0].priority == -3


async def test_a_request_id_is_the_answers_id_and_may_be_used_twice() -> None:
    engine = scripted("x")
    async with running(engine) as server:
        assert (await post(server, request_id="mine"))["id"] == "chatcmpl-mine"
        assert {chunk["id"] for chunk in await chunks(server, request_id="mine")} == {"chatcmpl-mine"}
        # The engine's ids stay unique.
        assert len({request.request_id for request in engine.requests}) == 2


@pytest.mark.parametrize(("mode", "log_odds"), [("short", 0.0), ("long", 0.0), ("auto", 50.0)])
async def test_token_ids_are_what_the_model_has_seen(mode: str, log_odds: float) -> None:
    engine = scripted(f"{THOUGHT}Four." if mode != "short" else "Four.", log_odds=log_odds)
    async with running(engine) as server:
        whole = await post(server, mode=mode, return_token_ids=True)
        parts = await chunks(server, mode=mode, return_token_ids=True)
    prompt, ids = whole["prompt_token_ids"], whole["choices"][0]["token_ids"]
    seen = engine.requests[0].prompt_ids
    assert prompt == list(seen[: len(prompt)])
    assert engine.tokenizer.decode([*prompt, *ids]).endswith("Four.<|im_end|>")
    assert (prompt + ids)[len(seen) :] == list(engine.script(engine.requests[0]))
    assert [chunk["prompt_token_ids"] for chunk in parts if "prompt_token_ids" in chunk] == [prompt]
    assert [i for chunk in parts for choice in chunk["choices"] for i in choice.get("token_ids", ())] == ids


async def test_token_ids_hold_what_the_server_has_put_between() -> None:
    engine = scripted("x" * 50, "Four.")
    async with running(engine) as server:
        answer = await post(server, mode="long", max_reasoning_tokens=3, return_token_ids=True)
        text = engine.tokenizer.decode(answer["choices"][0]["token_ids"])
        assert text == "xxx\n</think>\n\nFour.<|im_end|>"


async def test_the_official_client_sends_them_as_extra_fields() -> None:
    engine = scripted("One, two.")
    async with running(engine) as server:
        extra = {"mode": "short", "stop_token_ids": [token(engine, ",")], "return_token_ids": True}
        completion = await server.client.chat.completions.create(model=MODEL, messages=USER, extra_body=extra)
        assert completion.choices[0].message.content == "One"
        assert (completion.model_extra or {})["prompt_token_ids"]


async def test_token_ids_are_refused_with_server_tools() -> None:
    async with running(scripted("x")) as server:
        tools = [{"type": "server", "name": "calculator"}]
        assert await error(server, tools=tools, return_token_ids=True) == (400, "return_token_ids")


async def test_an_end_of_turn_among_the_stop_tokens_ends_the_reasoning_alone() -> None:
    engine = scripted("Hm.", "Four.")
    (eos,) = engine.eos_token_ids
    async with running(engine) as server:
        answer = await post(server, mode="long", stop_token_ids=[eos])
        assert answer["choices"][0]["message"]["content"] == "Four."


async def test_min_tokens_are_no_more_than_a_step_may_decode() -> None:
    engine = scripted("x" * 1000, "y" * 1000)
    async with running(engine) as server:
        await post(server, mode="long", min_tokens=600)
        assert all(request.min_tokens <= request.max_tokens for request in engine.requests)
        assert len(engine.requests) == 2
