"""The API over a scripted engine: exact texts, counts and records, through the official client."""

import asyncio
import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from support.serving import MODEL, Running, held, running, scripted
from support.timings import untimed

from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN

REASONING = "Two and two.\n</think>\n\n"
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'
ADD: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
USER: Any = [{"role": "user", "content": "2+2?"}]


async def ask(server: Running, mode: str | None = None, extra: dict[str, Any] | None = None, **fields: Any) -> ChatCompletion:
    body = {"mode": mode, **(extra or {})} if mode else extra
    fields = {"model": MODEL, "messages": USER, "temperature": 0} | fields
    return await server.client.chat.completions.create(extra_body=body, **fields)


def turn(completion: ChatCompletion, at: int = 0) -> dict[str, Any]:
    assert completion.model_extra is not None
    return completion.model_extra["autotool"]["turns"][at]


def reasoning(completion: ChatCompletion) -> Any:
    extra = completion.choices[0].message.model_extra or {}
    assert extra.get("reasoning") == extra.get("reasoning_content")
    return extra.get("reasoning")


async def test_long_splits_reasoning_from_content() -> None:
    async with running(scripted(REASONING + "Four.")) as server:
        completion = await ask(server, "long")
        assert (reasoning(completion), completion.choices[0].message.content) == ("Two and two.", "Four.")
        assert completion.choices[0].finish_reason == "stop"
        assert turn(completion)["resolved"] == "long"
        assert turn(completion)["decided_by"] == "request"
        # "Two and two." is a token a byte, then "\n" and "</think>".
        assert turn(completion)["reasoning_tokens"] == 14
        # "\n", "\n", "Four." and the end of the turn.
        assert turn(completion)["content_tokens"] == 8


async def test_short_is_all_content() -> None:
    async with running(scripted("Four.")) as server:
        completion = await ask(server, "short")
        assert (reasoning(completion), completion.choices[0].message.content) == (None, "Four.")
        usage = completion.usage
        assert usage is not None
        assert usage.completion_tokens == 6
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 0


@pytest.mark.parametrize(("log_odds", "resolved", "text"), [(2.0, "long", REASONING + "Four."), (-2.0, "short", "Four.")])
async def test_auto_is_the_mode_that_the_model_chose(log_odds: float, resolved: str, text: str) -> None:
    engine = scripted(text, log_odds=log_odds)
    async with running(engine) as server:
        auto, forced = await ask(server, "auto"), await ask(server, resolved)
        assert auto.choices[0].message == forced.choices[0].message
        record = turn(auto)
        assert (record["resolved"], record["decided_by"]) == (resolved, "model")
        assert record["p_long"] == pytest.approx(0.8808 if resolved == "long" else 0.1192, abs=1e-4)
        assert record["decision_tokens"] == 1
        assert auto.usage is not None
        assert forced.usage is not None
        assert auto.usage.completion_tokens == forced.usage.completion_tokens + 1
        assert auto.usage.total_tokens == forced.usage.total_tokens
        # Both went on from the very same token ids.
        assert engine.requests[0].prompt_ids == engine.requests[1].prompt_ids


async def test_reasoning_bias_moves_the_decision_and_not_p_long() -> None:
    async with running(scripted("Four.", log_odds=2.0)) as server:
        completion = await ask(server, "auto", {"reasoning_bias": -3.0})
        assert turn(completion)["resolved"] == "short"
        assert turn(completion)["p_long"] == pytest.approx(0.8808, abs=1e-4)
        assert turn(completion)["reasoning_bias"] == -3.0


async def test_a_seed_settles_the_decision() -> None:
    async with running(scripted("Four.")) as server:
        runs = [[turn(await ask(server, "auto", temperature=1, seed=s))["resolved"] for s in range(12)] for _ in range(2)]
        assert runs[0] == runs[1]
        assert set(runs[0]) == {"long", "short"}


async def test_alias_effort_and_default_choose_the_mode() -> None:
    async with running(scripted("Four."), default_mode=Mode.SHORT) as server:
        assert turn(await ask(server))["resolved"] == "short"
        assert turn(await ask(server, model=f"{MODEL}:long"))["resolved"] == "long"
        assert turn(await ask(server, reasoning_effort="high"))["resolved"] == "long"
        assert turn(await ask(server, reasoning_effort="low"))["decided_by"] == "model"
        assert turn(await ask(server, extra={"chat_template_kwargs": {"enable_thinking": True}}))["resolved"] == "long"


async def test_budget_closes_the_block_and_the_answer_keeps_its_own() -> None:
    engine = scripted("x" * 100, "Four.")
    async with running(engine) as server:
        completion = await ask(server, "long", {"max_reasoning_tokens": 7}, max_completion_tokens=6)
        assert (reasoning(completion), completion.choices[0].message.content) == ("x" * 7, "Four.")
        assert turn(completion)["reasoning_tokens"] == 7
        assert turn(completion)["reasoning_truncated"]
        assert completion.choices[0].finish_reason == "stop"
        tail = engine.tokenizer.decode(engine.requests[1].prompt_ids)
        assert tail.endswith("<think>\n" + "x" * 7 + "\n</think>\n\n")


async def test_what_could_have_begun_a_marker_is_reasoning_when_the_block_is_closed() -> None:
    async with running(scripted("abc <def", "Four.")) as server:
        completion = await ask(server, "long", {"max_reasoning_tokens": 5})
        assert (reasoning(completion), completion.choices[0].message.content) == ("abc <", "Four.")


async def test_budget_that_suffices_is_not_recorded_as_cut() -> None:
    async with running(scripted(REASONING, "Four.")) as server:
        completion = await ask(server, "long", {"max_reasoning_tokens": 50})
        assert (reasoning(completion), completion.choices[0].message.content) == ("Two and two.", "Four.")
        assert not turn(completion)["reasoning_truncated"]


async def test_budget_of_nothing_goes_straight_to_the_answer() -> None:
    async with running(scripted("Four.")) as server:
        completion = await ask(server, "long", {"max_reasoning_tokens": 0})
        assert (reasoning(completion), completion.choices[0].message.content) == (None, "Four.")
        assert turn(completion)["reasoning_truncated"]


async def test_a_turn_that_ends_inside_the_block_still_gets_an_answer() -> None:
    async with running(scripted("Hm.", "Four.")) as server:
        completion = await ask(server, "long")
        assert (reasoning(completion), completion.choices[0].message.content) == ("Hm.", "Four.")
        assert not turn(completion)["reasoning_truncated"]


async def test_max_tokens_bounds_the_whole_turn() -> None:
    async with running(scripted(REASONING + "Four.", log_odds=50.0), answer_reserve=0) as server:
        completion = await ask(server, "auto", max_completion_tokens=5)
        assert completion.usage is not None
        assert completion.usage.completion_tokens == 5
        assert completion.choices[0].finish_reason == "length"
        assert completion.choices[0].message.content == ""
        assert (await ask(server, "auto", max_completion_tokens=1)).choices[0].finish_reason == "length"


async def test_max_tokens_is_never_all_reasoning() -> None:
    async with running(scripted("x" * 100, "Four.", "x" * 100, "Four.")) as server:
        completion = await ask(server, "long", max_completion_tokens=24)
        assert (reasoning(completion), completion.choices[0].message.content) == ("x" * 18, "Four.")
        assert completion.choices[0].finish_reason == "stop"
        assert turn(completion)["reasoning_truncated"]
        completion = await ask(server, "long", max_completion_tokens=20)
        assert (reasoning(completion), completion.choices[0].message.content) == ("x" * 15, "Four.")


@pytest.mark.parametrize("limits", [{"max_completion_tokens": 32_000}, {"max_reasoning_tokens": 32_000}])
async def test_a_limit_beyond_the_context_is_the_context(limits: dict[str, int]) -> None:
    engine = scripted(REASONING + "Four.", "Four.")
    async with running(engine) as server:
        completion = await ask(server, "long", limits)
        assert completion.choices[0].message.content == "Four."
        for request in engine.requests:
            assert len(request.prompt_ids) + request.max_tokens <= engine.max_model_len


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 8])
async def test_a_small_limit_has_an_answer_in_auto_too(limit: int) -> None:
    async with running(scripted("x" * 100, "y" * 100, log_odds=50.0)) as server:
        completion = await ask(server, "auto", max_completion_tokens=limit)
        assert completion.choices[0].message.content
        assert completion.usage is not None
        assert completion.usage.completion_tokens == max(limit, 2)


async def test_an_effort_that_the_model_cannot_do_leaves_the_mode_alone() -> None:
    async with running(scripted("Four."), BUILTIN["plain"], default_mode="short") as server:
        completion = await ask(server, reasoning_effort="medium")
        assert completion.choices[0].message.content == "Four."


async def test_an_effort_has_a_budget_and_a_bias() -> None:
    efforts = {"tiny": {"mode": "auto", "bias": 50, "budget": 7}}
    async with running(scripted("x" * 100, "Four.", "x" * 100, "Four."), effort=efforts) as server:
        completion = await ask(server, reasoning_effort="tiny")
        assert reasoning(completion) == "x" * 7
        assert completion.model_extra is not None
        assert completion.model_extra["autotool"]["effort"] == "tiny"
        assert turn(completion)["max_reasoning_tokens"] == 7
        assert (turn(completion)["resolved"], turn(completion)["reasoning_bias"]) == ("long", 50)
        completion = await ask(server, extra={"max_reasoning_tokens": 3, "reasoning_bias": 20}, reasoning_effort="tiny")
        assert (reasoning(completion), turn(completion)["reasoning_bias"]) == ("x" * 3, 20)


async def test_the_server_limits_what_a_request_does_not() -> None:
    limits = {"default_max_tokens": 5, "default_max_reasoning_tokens": 8, "closing_phrase": " Time is up."}
    async with running(scripted("x" * 100, "y" * 100), **limits) as server:
        completion = await ask(server, "long")
        assert reasoning(completion) == "x" * 8 + " Time is up."
        assert completion.choices[0].message.content == "y" * 5
        assert completion.choices[0].finish_reason == "length"


async def test_calls_inside_the_think_block_are_reasoning() -> None:
    async with running(scripted(f"Maybe {CALL}?\n</think>\n\nNo.")) as server:
        completion = await ask(server, "long", tools=[ADD])
        assert CALL in reasoning(completion)
        assert completion.choices[0].message.tool_calls is None
        assert completion.choices[0].message.content == "No."


@pytest.mark.parametrize(("mode", "before"), [("long", REASONING), ("short", "")])
async def test_tool_calls(mode: str, before: str) -> None:
    async with running(scripted(f"{before}Adding.\n{CALL}\n{CALL}")) as server:
        message: Any = (completion := await ask(server, mode, tools=[ADD])).choices[0].message
        assert message.content == "Adding."
        assert [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls] == [("add", {"a": 2})] * 2
        assert completion.choices[0].finish_reason == "tool_calls"
        assert turn(completion)["tool_calls"] == ["add", "add"]
        single = await ask(server, mode, tools=[ADD], parallel_tool_calls=False)
        assert len(single.choices[0].message.tool_calls or []) == 1


async def test_whatever_describes_a_function_reaches_the_model() -> None:
    engine = scripted("Four.")
    described = {**ADD, "function": {**ADD["function"], "response": {"type": "integer"}}}
    async with running(engine) as server:
        await ask(server, "short", tools=[described], store=False)
    prompt = engine.tokenizer.decode(engine.requests[0].prompt_ids)
    assert '"response": {"type": "integer"}' in prompt


async def test_content_is_null_beside_calls_only() -> None:
    async with running(scripted(CALL)) as server:
        assert (await ask(server, "short", tools=[ADD])).choices[0].message.content is None
        assert (await ask(server, "short", tools=[ADD], tool_choice="none")).choices[0].message.content == CALL


async def test_stop_strings_end_the_content_and_spare_the_reasoning() -> None:
    engine = scripted("STOP?\n</think>\n\nOne STOP two")
    async with running(engine) as server:
        completion = await ask(server, "long", stop=["STOP"])
        assert (reasoning(completion), completion.choices[0].message.content) == ("STOP?", "One ")
        assert completion.choices[0].finish_reason == "stop"
        await server.idle()
        assert len(engine.aborted) == 1


async def test_grammar_binds_the_answer_and_not_the_reasoning() -> None:
    engine = scripted(REASONING, "{}")
    async with running(engine) as server:
        await ask(server, "long", response_format={"type": "json_object"})
        assert engine.requests[0].structural_tag is None
        assert engine.requests[1].structural_tag is not None
        assert engine.tokenizer.decode(engine.requests[1].prompt_ids).endswith("</think>\n\n")
        await ask(server, "short", response_format={"type": "json_object"})
        assert engine.requests[2].structural_tag is not None


async def test_choices_have_their_own_turns_and_seeds() -> None:
    engine = scripted("One", "Two", "Three")
    async with running(engine) as server:
        completion = await ask(server, "short", n=3, seed=5, temperature=1)
        assert {choice.message.content for choice in completion.choices} == {"One", "Two", "Three"}
        assert sorted(request.sampling.seed or 0 for request in engine.requests) == [5, 6, 7]
        assert [turn(completion, at)["choice"] for at in range(3)] == [0, 1, 2]
        stream = await server.client.chat.completions.create(
            model=MODEL, messages=USER, n=3, stream=True, extra_body={"mode": "short"}
        )
        texts = ["", "", ""]
        async for chunk in stream:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert texts == ["Three"] * 3


async def test_logprobs_are_those_of_content_tokens() -> None:
    async with running(scripted("a</think>\n\nbc")) as server:
        logprobs = (await ask(server, "long", logprobs=True, top_logprobs=2)).choices[0].logprobs
        assert logprobs is not None
        assert [entry.token for entry in logprobs.content or []] == ["b", "c"]
        assert [len(entry.top_logprobs) for entry in logprobs.content or []] == [2] * 2
        assert (await ask(server, "short")).choices[0].logprobs is None


@pytest.mark.parametrize("mode", ["long", "short", "auto"])
async def test_stream_says_what_the_whole_answer_says(mode: str) -> None:
    text = f"{REASONING}Ünïcödé 🙂.\n{CALL}" if mode != "short" else f"Ünïcödé 🙂.\n{CALL}"
    async with running(scripted(text, log_odds=50.0)) as server:
        whole = await ask(server, mode, tools=[ADD])
        stream = await server.client.chat.completions.create(
            model=MODEL,
            messages=USER,
            tools=[ADD],
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"mode": mode},
        )
        content, thought, arguments, names, record, usage, reasons = "", "", "", [], None, None, []
        async for chunk in stream:
            usage = chunk.usage or usage
            record = (chunk.model_extra or {}).get("autotool", record)
            for choice in chunk.choices:
                delta = choice.delta
                content += delta.content or ""
                thought += (delta.model_extra or {}).get("reasoning") or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
                for call in delta.tool_calls or []:
                    assert call.function is not None
                    names += [call.function.name] if call.function.name else []
                    arguments += call.function.arguments or ""
        assert content == whole.choices[0].message.content
        assert thought == (reasoning(whole) or "")
        assert (names, json.loads(arguments), reasons) == (["add"], {"a": 2}, ["tool_calls"])
        assert whole.model_extra is not None
        assert record is not None
        assert untimed(record) == untimed(whole.model_extra["autotool"])
        assert usage is not None
        assert whole.usage is not None
        assert usage.total_tokens == whole.usage.total_tokens


async def test_a_stream_begins_with_the_first_token_even_if_it_shows_no_text() -> None:
    engine = scripted("\n\nHm.\n</think>\n\nFour.")
    held(engine)
    async with running(engine) as server:
        stream = await server.client.chat.completions.create(
            model=MODEL, messages=USER, stream=True, extra_body={"mode": "long"}
        )
        async with asyncio.timeout(10):
            first = await anext(aiter(stream))
        assert first.choices[0].delta.role == "assistant"
        await stream.close()
        await server.idle()


async def test_history_of_every_role_reaches_the_template() -> None:
    engine = scripted("Fine.")
    async with running(engine) as server:
        calls = [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}]
        await ask(
            server,
            "short",
            messages=[
                {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
                {"role": "user", "content": "2+2?"},
                {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": calls, "refusal": None},
                {"role": "tool", "tool_call_id": "c1", "content": "4"},
            ],
        )
        text = engine.tokenizer.decode(engine.requests[0].prompt_ids)
        assert text == (
            "<|im_start|>system\nBe\nbrief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
            '<|im_start|>assistant\n<think>\nHm.\n</think>\n\n<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n'
            "</tool_call><|im_end|>\n<|im_start|>tool\n4<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        )


async def test_an_answer_can_be_sent_back_as_it_came() -> None:
    async with running(scripted(REASONING + CALL)) as server:
        answer = (await ask(server, "long", tools=[ADD])).choices[0].message
        calls = answer.tool_calls or []
        result = {"role": "tool", "tool_call_id": calls[0].id, "content": "4"}
        await ask(server, "long", messages=[*USER, answer.model_dump(), result], tools=[ADD])


@pytest.mark.parametrize(("fields", "kept"), [("reasoning", "reasoning"), ("reasoning_content", "reasoning_content")])
async def test_either_name_of_reasoning_can_be_dropped(fields: Any, kept: str) -> None:
    async with running(scripted(REASONING + "Four."), reasoning_fields=fields) as server:
        extra = (await ask(server, "long")).choices[0].message.model_extra
        assert extra == {kept: "Two and two."}


async def test_requests_at_once_do_not_mix() -> None:
    async with running(scripted(lambda request: f"{len(request.prompt_ids)}")) as server:

        async def one(length: int) -> None:
            engine_says = (await ask(server, "short", messages=[{"role": "user", "content": "x" * length}])).choices[0]
            assert engine_says.message.content == str(base + length)

        probe = await ask(server, "short", messages=[{"role": "user", "content": ""}])
        base = int(probe.choices[0].message.content or 0)
        await asyncio.gather(*(one(length) for length in range(1, 40)))
