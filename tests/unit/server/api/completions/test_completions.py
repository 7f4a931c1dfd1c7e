"""Plain completions over a scripted engine, through the official client."""

import json
from typing import Any

import httpx
import pytest
from openai.types import Completion
from support.serving import MODEL, Running, running, scripted

from autotool_server.engines.base import EngineRequest

CALL = '<think>x</think>\n\n<tool_call>{"name": "f"}</tool_call>'


async def complete(server: Running, prompt: Any = "2+2=", **fields: Any) -> Completion:
    return await server.client.completions.create(model=MODEL, prompt=prompt, **{"max_tokens": 100, **fields})


async def refused(server: Running, **fields: Any) -> tuple[int, str | None]:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"{server.url}/completions", json={"model": MODEL, "prompt": "x", **fields})
    assert "swordfish" not in response.text
    return response.status_code, response.json()["error"]["param"]


def last_prompt(request: EngineRequest) -> str:
    return f"{request.prompt_ids[-1]}"


async def test_text_is_continued_as_it_is() -> None:
    engine = scripted(CALL)
    async with running(engine) as server:
        completion = await complete(server)
        assert engine.tokenizer.decode(engine.requests[0].prompt_ids) == "2+2="
        assert completion.choices[0].text == CALL
        assert (completion.object, completion.model, completion.choices[0].finish_reason) == ("text_completion", MODEL, "stop")
        assert completion.choices[0].logprobs is None
        assert completion.usage is not None
        decoded = len(engine.tokenizer.encode(CALL)) + 1
        assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (4, decoded)
        record = (completion.model_extra or {})["autotool"]
        assert (record["mode"], record["turns"][0]["resolved"], record["turns"][0]["content_tokens"]) == (None, None, decoded)


async def test_sixteen_tokens_by_default_and_as_many_as_asked() -> None:
    engine = scripted("x" * 50)
    async with running(engine) as server:
        completion = await server.client.completions.create(model=MODEL, prompt="y")
        assert (completion.choices[0].text, completion.choices[0].finish_reason) == ("x" * 16, "length")
        assert (await complete(server, max_tokens=3)).choices[0].text == "xxx"
        completion = await complete(server, max_tokens=0, echo=True)
        assert (completion.choices[0].text, completion.choices[0].finish_reason) == ("2+2=", "length")
        await complete(server, "y" * 4095, max_tokens=1)
        completion = await server.client.completions.create(model=MODEL, prompt="y" * 4090)
        assert len(completion.choices[0].text) == 6


@pytest.mark.parametrize("as_ids", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_every_prompt_has_its_choices_in_order(as_ids: bool, stream: bool) -> None:
    engine = scripted(last_prompt)
    async with running(engine) as server:
        ids = [engine.tokenizer.encode(text) for text in ("a", "bc", "d")]
        prompts: Any = ids if as_ids else ["a", "bc", "d"]
        texts = [""] * 6
        if stream:
            options: Any = {"include_usage": True}
            usage = None
            async for chunk in await server.client.completions.create(
                model=MODEL, prompt=prompts, n=2, echo=True, stream=True, stream_options=options
            ):
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    texts[choice.index] += choice.text
        else:
            completion = await complete(server, prompts, n=2, echo=True)
            usage = completion.usage
            for choice in completion.choices:
                texts[choice.index] = choice.text
        assert texts == [f"{text}{ids[-1]}" for text, ids in zip(("a", "bc", "d"), ids, strict=True) for _ in range(2)]
        assert usage is not None
        assert usage.prompt_tokens == 4


async def test_token_ids_are_one_prompt() -> None:
    engine = scripted("x")
    async with running(engine) as server:
        await complete(server, [1, 2, 3])
        assert list(engine.requests[0].prompt_ids) == [1, 2, 3]


async def test_seeds_differ_between_choices_and_not_between_prompts() -> None:
    engine = scripted("x")
    async with running(engine) as server:
        await complete(server, ["a", "b"], n=2, seed=5)
        assert sorted(request.sampling.seed or 0 for request in engine.requests) == [5, 5, 6, 6]


async def test_a_stop_string_ends_the_text_and_the_generation() -> None:
    engine = scripted("one STOP two")
    async with running(engine) as server:
        completion = await complete(server, stop=["STOP", "never"])
        assert (completion.choices[0].text, completion.choices[0].finish_reason) == ("one ", "stop")
        await server.idle()
        assert len(engine.aborted) == 1
        assert (await complete(server, stop="STOP two!")).choices[0].text == "one STOP two"


async def test_the_end_of_text_can_be_ignored_and_other_tokens_can_end_it() -> None:
    engine = scripted("ab")
    engine.script = lambda _: [1, engine.eos_token_ids[0], 2, 3]
    async with running(engine) as server:
        kept = engine.tokenizer.decode([1]), engine.tokenizer.decode([1, 2, 3]), engine.tokenizer.decode([1, 2])
        assert (await complete(server)).choices[0].text == kept[0]
        completion = await complete(server, max_tokens=4, extra_body={"ignore_eos": True})
        assert (completion.choices[0].text, completion.choices[0].finish_reason) == (kept[1], "length")
        completion = await complete(server, extra_body={"ignore_eos": True, "stop_token_ids": [3]})
        assert (completion.choices[0].text, completion.choices[0].finish_reason) == (kept[2], "stop")
        shown = await complete(server, extra_body={"ignore_eos": True, "skip_special_tokens": False})
        assert "<|im_end|>" in shown.choices[0].text


async def test_logprobs_have_one_entry_a_token() -> None:
    async with running(scripted("aé!")) as server:
        logprobs = (await complete(server, logprobs=2)).choices[0].logprobs
        assert logprobs is not None
        # The two bytes of é are a token each; its text is complete with the second.
        assert logprobs.tokens == ["a", "\ufffd", "\ufffd", "!"]
        assert logprobs.text_offset == [0, 1, 1, 2]
        assert len(logprobs.token_logprobs or []) == 4
        assert next(len(top) for top in logprobs.top_logprobs or []) == 2
        none = (await complete(server, logprobs=0)).choices[0].logprobs
        assert none is not None
        assert none.top_logprobs is not None
        assert list(none.top_logprobs[0]) == ["a"]
        streamed = []
        async for chunk in await server.client.completions.create(model=MODEL, prompt="x", logprobs=2, stream=True):
            assert isinstance(chunk, Completion)
            for choice in chunk.choices:
                streamed += (choice.logprobs.text_offset or []) if choice.logprobs else []
        assert streamed == [0, 1, 1, 2]


async def test_a_stream_has_usage_where_it_is_asked_for() -> None:
    async with running(scripted("abc")) as server, httpx.AsyncClient() as client:

        async def chunks(**options: Any) -> list[dict[str, Any]]:
            body = {"model": MODEL, "prompt": "x", "stream": True, "stream_options": options}
            response = await client.post(f"{server.url}/completions", json=body)
            *events, done = response.text.strip().split("\n\n")
            assert done == "data: [DONE]"
            return [json.loads(event.removeprefix("data: ")) for event in events]

        assert all("usage" not in chunk for chunk in await chunks())
        counted = await chunks(include_usage=True)
        assert [chunk["usage"] for chunk in counted[:-1]] == [None] * 4
        assert (counted[-1]["choices"], counted[-1]["usage"]["completion_tokens"]) == ([], 4)
        assert counted[-2]["autotool"]["turns"][0]["content_tokens"] == 4
        assert counted[-2]["choices"][0]["finish_reason"] == "stop"
        continuous = await chunks(include_usage=True, continuous_usage_stats=True)
        assert [chunk["usage"]["completion_tokens"] for chunk in continuous] == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"prompt": None}, 400, "prompt"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": [[]]}, 400, "prompt.0"),
        ({"prompt": ["a", ""]}, 400, "prompt.1"),
        ({"prompt": ["a"] * 3000}, 400, "prompt"),
        ({"prompt": [10**6]}, 400, "prompt"),
        ({"prompt": [-1]}, 400, "prompt.0"),
        ({"prompt": [1, "swordfish"]}, 400, "prompt.1"),
        ({"prompt": [[1], [-1]]}, 400, "prompt.1.0"),
        ({"prompt": {"swordfish": 1}}, 400, "prompt"),
        ({"prompt": "swordfish" * 1000}, 400, "prompt"),
        ({"max_tokens": 5, "min_tokens": 6}, 400, "min_tokens"),
        ({"max_tokens": -1}, 400, "max_tokens"),
        ({"n": 1000}, 400, "n"),
        ({"best_of": 2}, 400, "best_of"),
        ({"suffix": "swordfish"}, 400, "suffix"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"truncate_prompt_tokens": 3}, 400, "truncate_prompt_tokens"),
        ({"bad_words": ["swordfish"]}, 400, "bad_words"),
        ({"stream_options": {"include_usage": True}}, 400, None),
        ({"echo": True, "logprobs": 1}, 400, "echo"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"mode": "long"}, 400, "mode"),
        ({"mod": "long"}, 400, "mod"),
        ({"stop": [""]}, 400, "stop.0"),
        ({"logit_bias": {"999999": 1}}, 400, "logit_bias"),
        ({"stop_token_ids": [999999]}, 400, "stop_token_ids"),
        ({"model": "swordfish"}, 404, "model"),
        ({"model": f"{MODEL}:long"}, 400, "model"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], status: int, field: str) -> None:
    engine = scripted("x")
    async with running(engine) as server:
        assert await refused(server, **fields) == (status, field)
        assert engine.requests == []
        assert server.state.admission.in_flight == 0


async def test_fields_without_effect_are_taken_and_unknown_ones_are_named() -> None:
    async with running(scripted("x")) as server:
        completion = await complete(
            server, n=2, best_of=2, suffix="", user="u", extra_body={"use_beam_search": False, "frobnicate": 1}
        )
        assert (completion.model_extra or {})["autotool"]["ignored"] == ["frobnicate"]


async def test_a_client_that_leaves_frees_the_engine() -> None:
    engine = scripted("x" * 1000)
    async with running(engine) as server:
        stream = await server.client.completions.create(model=MODEL, prompt=["a", "b"], max_tokens=900, stream=True)
        await anext(aiter(stream))
        await stream.close()
        await server.idle()
        assert len(engine.aborted) == 2


async def test_completions_are_accounted_for_without_a_mode() -> None:
    async with running(scripted("Four.")) as server, httpx.AsyncClient() as client:
        await complete(server, ["a", "bc"])
        page = (await client.get(f"{server.url.removesuffix('/v1')}/metrics")).text
    assert 'autotool_requests_total{mode="none",resolved="none",status="200"} 1.0' in page
    assert 'autotool_tokens_total{kind="prompt",resolved="none"} 3.0' in page
    assert 'autotool_tokens_total{kind="content",resolved="none"} 12.0' in page
