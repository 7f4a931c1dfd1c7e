"""Anthropic's Messages over a scripted engine, through the official client and its types."""

import json
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, RawMessageStreamEvent, ToolUseBlock
from pydantic import TypeAdapter
from support.messages import ADD, CALL, THOUGHT, USER, ask, client_of, events, record, shown
from support.serving import MODEL, running, scripted
from support.timings import untimed
from support.tiny import CHAT_TEMPLATE, make_tokenizer
from support.tools import ADD_1_2, adder, called, with_tools

from autotool_core.profile import BUILTIN

LONG: Any = {"type": "enabled", "budget_tokens": 50}
EVENT = TypeAdapter[RawMessageStreamEvent](RawMessageStreamEvent)


async def test_an_answer_has_blocks_in_order() -> None:
    async with running(scripted(f"{THOUGHT}Adding.\n{CALL}\n{CALL}")) as server:
        message = await ask(server, "long", tools=[ADD])
    assert shown(message) == [
        ("thinking", "Two and two."),
        ("text", "Adding."),
        ("tool_use", {"a": 2}),
        ("tool_use", {"a": 2}),
    ]
    calls = [block for block in message.content if isinstance(block, ToolUseBlock)]
    assert len({call.id for call in calls}) == 2
    assert all(call.id.startswith("toolu_") for call in calls)
    assert (message.stop_reason, message.stop_sequence, message.id[:4]) == ("tool_use", None, "msg_")
    assert record(message)["turns"][0]["resolved"] == "long"
    assert message._request_id == message.id.replace("msg_", "req_")


async def test_an_answer_is_of_the_official_types() -> None:
    async with running(scripted(f"{THOUGHT}Adding.\n{CALL}")) as server, httpx.AsyncClient() as http:
        body = {"model": MODEL, "max_tokens": 200, "messages": USER, "tools": [ADD], "mode": "long"}
        answer = (await http.post(f"{server.url}/messages", json=body)).json()
    parsed = Message.model_validate(answer, strict=True)
    assert set(parsed.model_extra or {}) == {"autotool"}
    assert {"stop_sequence", "stop_details", "container"} <= set(answer)
    assert set(parsed.usage.model_extra or {}) == set()


@pytest.mark.parametrize("mode", ["long", "short", "auto"])
async def test_stream_says_what_the_whole_answer_says(mode: str) -> None:
    text = f"{THOUGHT if mode != 'short' else ''}Ünïcödé 🙂.\n{CALL}"
    async with running(scripted(text, log_odds=50.0)) as server, client_of(server) as client:
        whole = await ask(server, mode, tools=[ADD])
        fields: Any = {"model": MODEL, "max_tokens": 200, "messages": USER, "tools": [ADD], "extra_body": {"mode": mode}}
        async with client.messages.stream(**fields) as stream:
            final = await stream.get_final_message()
        raw = await events(server, tools=[ADD], mode=mode)
    assert shown(final) == shown(whole)
    assert (final.stop_reason, final.usage) == (whole.stop_reason, whole.usage)
    assert untimed(raw[-2]["autotool"]) == untimed(record(whole))


async def test_events_are_in_order_and_of_the_official_types() -> None:
    async with running(scripted(f"{THOUGHT}Adding.\n{CALL}\n{CALL}")) as server:
        raw = await events(server, tools=[ADD], mode="long")
    kinds = [event["type"] for event in raw if event["type"] != "content_block_delta"]
    block = ["content_block_start", "content_block_stop"]
    assert kinds == ["message_start", "ping", *(block * 4), "message_delta", "message_stop"]
    for event in raw:
        if event["type"] != "ping":
            parsed: Any = EVENT.validate_python(event)
            assert set(parsed.model_extra or {}) <= {"autotool"}
    blocks = [event["content_block"]["type"] for event in raw if event["type"] == "content_block_start"]
    assert blocks == ["thinking", "text", "tool_use", "tool_use"]
    deltas = {(event["index"], event["delta"]["type"]) for event in raw if event["type"] == "content_block_delta"}
    names = ["thinking_delta", "signature_delta", "text_delta", "input_json_delta", "input_json_delta"]
    assert deltas == set(zip([0, 0, 1, 2, 3], names, strict=True))
    assert raw[0]["message"]["stop_reason"] is None
    assert raw[0]["message"]["usage"]["input_tokens"] > 0


async def test_a_tool_loop_costs_what_it_costs_over_chat_completions() -> None:
    engine = scripted(*(f"Step {n}.\n</think>\n\nAdding.\n{CALL}" for n in (1, 2)), "Done.\n</think>\n\nFour.")
    async with running(engine) as server, client_of(server) as client:
        history, over_chat = [*USER], [*USER]
        for _ in range(2):
            async with client.messages.stream(
                model=MODEL, max_tokens=200, messages=history, tools=[ADD], extra_body={"mode": "long"}
            ) as stream:
                message = await stream.get_final_message()
            content: Any = message.content
            thinking, text, call = content
            assert (thinking.type, text.type, call.type) == ("thinking", "text", "tool_use")
            result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "4"}
            history += [message.to_param(), {"role": "user", "content": [result]}]
            function = {"name": call.name, "arguments": json.dumps(call.input)}
            calls = [{"id": call.id, "type": "function", "function": function}]
            over_chat += [
                {"role": "assistant", "content": text.text, "reasoning": thinking.thinking, "tool_calls": calls},
                {"role": "tool", "tool_call_id": call.id, "content": "4"},
            ]
        last = await ask(server, "long", messages=history, tools=[ADD])
        create: Any = server.client.chat.completions.create
        tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
        chat = await create(model=MODEL, messages=over_chat, tools=tools, extra_body={"mode": "long"})
    assert (shown(last), last.stop_reason) == ([("thinking", "Done."), ("text", "Four.")], "end_turn")
    prompts = [list(request.prompt_ids) for request in engine.requests]
    assert prompts[2] == prompts[3]
    assert "Step 1." in engine.tokenizer.decode(prompts[2])
    assert (last.usage.input_tokens, last.usage.output_tokens) == (chat.usage.prompt_tokens, chat.usage.completion_tokens)


async def test_thinking_that_is_not_shown_comes_back_in_its_signature() -> None:
    engine = scripted(f"{THOUGHT}Four.", "x")
    omitted: Any = {"type": "enabled", "budget_tokens": 50, "display": "omitted"}
    async with running(engine) as server:
        message = await ask(server, thinking=omitted)
        raw = await events(server, thinking=omitted)
        await ask(server, "short", messages=[*USER, message.to_param(), *USER])
        assert shown(message)[0] == ("thinking", "")
        deltas = [event["delta"]["type"] for event in raw if event.get("index") == 0 and "delta" in event]
        assert deltas == ["signature_delta"]
    assert "<think>\nTwo and two.\n</think>" in engine.tokenizer.decode(engine.requests[-1].prompt_ids)


async def test_thinking_is_shown_to_claude_code_which_asks_for_updates() -> None:
    thinking: Any = {"type": "adaptive", "display": "updates"}
    async with running(scripted(f"{THOUGHT}Four.", log_odds=50.0)) as server:
        assert shown(await ask(server, thinking=thinking))[0] == ("thinking", "Two and two.")


class TestModes:
    @pytest.mark.parametrize(
        ("thinking", "asked"),
        [({"type": "adaptive"}, "auto"), ({"type": "disabled"}, "short"), (LONG, "long")],
    )
    async def test_thinking_chooses_the_mode(self, thinking: Any, asked: str) -> None:
        async with running(scripted("Four.")) as server:
            assert record(await ask(server, thinking=thinking))["mode"] == asked
            effort = await ask(server, thinking=thinking, output_config={"effort": "high"})
            assert record(effort)["mode"] == asked

    async def test_effort_alone_chooses_the_mode(self) -> None:
        async with running(scripted("Four.")) as server:
            assert record(await ask(server, output_config={"effort": "max"}))["mode"] == "long"
            with pytest.raises(anthropic.BadRequestError, match=r"output_config\.effort must be one of"):
                await ask(server, output_config={"effort": "utmost"})

    async def test_mode_against_thinking_is_a_conflict(self) -> None:
        async with running(scripted("Four.")) as server:
            with pytest.raises(anthropic.BadRequestError, match="mode and thinking disagree"):
                await ask(server, "short", thinking=LONG)

    async def test_adaptive_thinking_suits_a_model_that_cannot_think(self) -> None:
        async with running(scripted("Four."), BUILTIN["plain"], default_mode="short") as server:
            message = await ask(server, thinking={"type": "adaptive"}, output_config={"effort": "high"})
            assert record(message)["mode"] == "short"


class TestServerTools:
    async def test_their_turns_are_blocks_and_their_calls_are_pings(self) -> None:
        texts = (f"Hm.\n</think>\n\nFirst. {ADD_1_2}", "So.\n</think>\n\nIt is 3.")
        tools: list[Any] = [{"type": "server", "name": "math.add"}]
        async with with_tools(scripted(*texts), adder()) as server:
            message = await ask(server, "long", tools=tools)
        assert shown(message) == [("thinking", "Hm."), ("text", "First."), ("thinking", "So."), ("text", "It is 3.")]
        assert message.stop_reason == "end_turn"
        assert [item["role"] for item in record(message)["transcript"]] == ["assistant", "tool", "assistant"]
        async with with_tools(scripted(*texts), adder()) as server:
            raw = await events(server, tools=tools, mode="long")
        pings = [event["autotool"]["event"] for event in raw if event["type"] == "ping" and "autotool" in event]
        assert pings == ["tool_called", "tool_started", "tool_result", "turn"]
        text = "|".join(event["delta"]["text"] for event in raw if event.get("delta", {}).get("type") == "text_delta")
        assert text.replace("|", "") == "First.It is 3."

    async def test_a_turn_that_is_decoded_again_is_not_in_the_answer(self) -> None:
        texts = ("Wrong. " + called("math.add", {"a": 1}), "Both.\n</think>\n\n" + ADD_1_2, "It is 3.")
        async with with_tools(scripted(*texts), adder(), escalate=True) as server:
            message = await ask(server, "short", tools=[{"type": "server", "name": "math.add"}])
        assert [turn["escalated"] for turn in record(message)["turns"]] == ["invalid_arguments", None, None]
        assert shown(message) == [("thinking", "Both."), ("text", "It is 3.")]

    async def test_calls_of_both_sides(self) -> None:
        text = f"{ADD_1_2}\n{CALL}"
        async with with_tools(scripted(text), adder()) as server:
            message = await ask(server, "short", tools=[{"type": "server", "name": "math.add"}, ADD])
        assert shown(message) == [("tool_use", {"a": 2})]
        assert message.stop_reason == "tool_use"


async def test_the_model_has_the_name_that_the_client_calls_it() -> None:
    async with running(scripted("Four.")) as server:
        assert (await ask(server, model=f"{MODEL}:short")).model == f"{MODEL}:short"
        assert (await events(server, model=f"{MODEL}:short"))[0]["message"]["model"] == f"{MODEL}:short"


async def test_what_is_left_out_is_named() -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    async with running(scripted("Four.")) as server, client_of(server) as client:
        raw = await client.messages.with_raw_response.create(
            model=MODEL, max_tokens=9, messages=USER, tools=[search], extra_body={"mode": "short", "task": 1}
        )
        assert raw.headers["x-autotool-ignored"] == "tools.0:web_search_20250305, task"
        assert record(await raw.parse())["ignored"] == ["tools.0:web_search_20250305", "task"]


async def test_a_template_that_refuses_late_system_messages_reads_them_as_the_users() -> None:
    refusing = "{%- if messages[1:] | selectattr('role', 'eq', 'system') | list %}{{ raise_exception('No.') }}{% endif %}"
    late: Any = {"role": "system", "content": "Be brief."}
    for template, role in ((CHAT_TEMPLATE, "system\nBe brief."), (refusing + CHAT_TEMPLATE, "2+2?\nBe brief.")):
        engine = scripted("Four.")
        engine.tokenizer = make_tokenizer(template)
        async with running(engine) as server:
            await ask(server, "short", messages=[*USER, late])
        assert f"{role}<|im_end|>" in engine.tokenizer.decode(engine.requests[0].prompt_ids)


async def test_arguments_that_cannot_be_sent_are_an_empty_object() -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1e999}}\n</tool_call>'
    tools: list[Any] = [{"name": "add", "input_schema": {"type": "object"}}]
    async with running(scripted(call)) as server:
        message = await ask(server, "short", tools=tools)
    assert [block.input for block in message.content if block.type == "tool_use"] == [{}]
