"""Anthropic's Messages over a scripted engine, through the official client and its types."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message, RawMessageStreamEvent, ThreadUnsupportedRequestError, ToolUseBlock
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter
from support.serving import MODEL, Running, failing, held, running, scripted
from support.tiny import CHAT_TEMPLATE, make_tokenizer
from support.tools import ADD_1_2, adder, called, with_tools

from autotool_core.profile import BUILTIN
from autotool_server.engines.base import EngineRequest, TokenDelta
from autotool_server.engines.scripted import ScriptedEngine

THOUGHT = "Two and two.\n</think>\n\n"
CALL = called("add", {"a": 2})
ADD: Any = {"name": "add", "input_schema": {"type": "object"}}
USER: Any = [{"role": "user", "content": "2+2?"}]
LONG: Any = {"type": "enabled", "budget_tokens": 50}
EVENT = TypeAdapter[RawMessageStreamEvent](RawMessageStreamEvent)


@asynccontextmanager
async def client_of(server: Running, **options: Any) -> AsyncIterator[AsyncAnthropic]:
    options = {"api_key": "none", "max_retries": 0} | options
    async with AsyncAnthropic(base_url=server.url.removesuffix("/v1"), **options) as client:
        yield client


async def ask(server: Running, mode: str | None = None, **fields: Any) -> Message:
    fields = {"model": MODEL, "max_tokens": 200, "messages": USER} | fields
    extra = {**({"mode": mode} if mode else {}), **fields.pop("extra", {})}
    async with client_of(server) as client:
        return await client.messages.create(extra_body=extra, **fields)


async def events(server: Running, **fields: Any) -> list[dict[str, Any]]:
    """Return the events as they are on the wire."""
    body = {"model": MODEL, "max_tokens": 200, "messages": USER, "stream": True} | fields
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{server.url}/messages?beta=true", json=body)
    found: list[dict[str, Any]] = []
    for part in response.text.strip().split("\n\n"):
        kind, data = part.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def record(message: Message) -> dict[str, Any]:
    assert message.model_extra is not None
    return message.model_extra["autotool"]


def shown(message: Message) -> list[tuple[Any, ...]]:
    """Return the kinds of blocks and what is in them."""
    keys = {"text": "text", "thinking": "thinking", "tool_use": "input"}
    return [(block.type, getattr(block, keys[block.type])) for block in message.content]


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
    assert raw[-2]["autotool"] == record(whole)


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


async def test_cached_tokens_are_read_from_the_cache_and_not_charged_as_input() -> None:
    class Cached(ScriptedEngine):
        async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
            async for delta in super().generate(request):
                yield replace(delta, cached_tokens=10)

    tokenizer = make_tokenizer()
    ids = [*tokenizer.encode("Four.", add_special_tokens=False), tokenizer.eos_token_id]
    async with running(Cached(tokenizer, (tokenizer.eos_token_id,), lambda _: ids)) as server:
        usage = (await ask(server, "short")).usage
        raw = await events(server, mode="short")
        async with client_of(server) as client:
            counted = await client.messages.count_tokens(model=MODEL, messages=USER, extra_body={"mode": "short"})
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens) == (10, 0, 6)
    assert usage.input_tokens + 10 == counted.input_tokens
    assert raw[-2]["usage"]["cache_read_input_tokens"] == 10


class TestTokens:
    async def test_max_tokens_counts_thinking(self) -> None:
        async with running(scripted("x" * 20, "y" * 100)) as server:
            message = await ask(server, thinking={"type": "enabled", "budget_tokens": 8}, max_tokens=12)
        assert shown(message) == [("thinking", "x" * 8), ("text", "y" * 4)]
        assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 12)

    async def test_what_thinking_leaves_is_for_the_answer(self) -> None:
        async with running(scripted("xx</think>" + "y" * 100)) as server:
            message = await ask(server, thinking={"type": "enabled", "budget_tokens": 11}, max_tokens=12)
        assert shown(message) == [("thinking", "xx"), ("text", "y" * 9)]

    @pytest.mark.parametrize("thinking", [{"type": "disabled"}, {"type": "enabled", "budget_tokens": 19_999}])
    async def test_more_than_the_context_has_is_cut_to_it(self, thinking: Any) -> None:
        engine = scripted("x" * 10_000)
        async with running(engine) as server:
            message = await ask(server, thinking=thinking, max_tokens=20_000)
        assert message.stop_reason == "model_context_window_exceeded"
        assert message.usage.input_tokens + message.usage.output_tokens <= engine.max_model_len

    async def test_a_prompt_without_room_is_refused_in_words_that_clients_look_for(self) -> None:
        long: Any = [{"role": "user", "content": "x" * 5000}]
        async with running(scripted("x")) as server, client_of(server) as client:
            with pytest.raises(anthropic.BadRequestError, match=r"Prompt is too long: .*4096 tokens"):
                await ask(server, "short", messages=long)
            counted = await client.messages.count_tokens(model=MODEL, messages=long)
        assert counted.input_tokens > 5000

    async def test_stop_sequences(self) -> None:
        async with running(scripted("One STOP two")) as server:
            message = await ask(server, "short", stop_sequences=["never", "STOP"])
            ended = await ask(server, "short", stop_sequences=["never"])
        assert (message.stop_reason, message.stop_sequence, shown(message)) == ("stop_sequence", "STOP", [("text", "One ")])
        assert (ended.stop_reason, ended.stop_sequence) == ("end_turn", None)

    async def test_a_call_that_is_cut_has_an_empty_input(self) -> None:
        async with running(scripted(CALL)) as server:
            message = await ask(server, "short", tools=[ADD], max_tokens=34)
        assert shown(message) == [("tool_use", {})]
        assert message.stop_reason == "max_tokens"


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


class TestCount:
    async def test_it_is_the_number_of_input_tokens_of_the_same_body(self) -> None:
        engine = scripted("Four.")
        body: Any = {"model": MODEL, "messages": USER, "system": "Be brief.", "tools": [ADD], "thinking": {"type": "disabled"}}
        async with running(engine) as server, client_of(server) as client:
            counted = await client.messages.count_tokens(**body)
            beta = await client.beta.messages.count_tokens(**body, betas=["token-counting-2024-11-01"])
            assert engine.requests == []
            message = await client.messages.create(**body, max_tokens=20)
        assert counted.input_tokens == beta.input_tokens == message.usage.input_tokens

    async def test_it_takes_no_slot(self) -> None:
        async with running(scripted("x"), max_concurrent_requests=1) as server, client_of(server) as client:
            with server.state.admission.slot():
                assert (await client.messages.count_tokens(model=MODEL, messages=USER)).input_tokens > 0

    async def test_its_errors_are_anthropics(self) -> None:
        async with running(scripted("x"), api_key="secret-key") as server, client_of(server, api_key="secret-key") as client:
            with pytest.raises(anthropic.NotFoundError):
                await client.messages.count_tokens(model="claude-haiku-4-5", messages=USER)
            tools: Any = [{"name": "add", "input_schema": {"type": "nothing"}}]
            with pytest.raises(anthropic.BadRequestError, match=r"tools\.0\.input_schema"):
                await client.messages.count_tokens(model=MODEL, messages=USER, tools=tools)
            with pytest.raises(anthropic.AuthenticationError):
                await client.with_options(api_key="wrong").messages.count_tokens(model=MODEL, messages=USER)


class TestErrors:
    async def test_a_thread_is_refused_so_that_clients_go_on_without(self) -> None:
        async with running(scripted("x")) as server, client_of(server) as client:
            with pytest.raises(ThreadUnsupportedRequestError, match="leave thread out") as refused:
                await client.beta.messages.create(model=MODEL, max_tokens=9, messages=USER, thread={"type": "create"})
            assert refused.value.details.error_code == "thread_unsupported_request"

    async def _refused(self, server: Running, body: Any, **headers: str) -> tuple[httpx.Response, Any]:
        async with httpx.AsyncClient() as http:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            response = await http.post(f"{server.url}/messages", content=content, headers=headers)
        error = ErrorResponse.model_validate(response.json(), strict=True)
        assert response.headers["request-id"] == error.request_id
        return response, error

    @pytest.mark.parametrize(
        ("change", "status", "kind"),
        [
            ({"max_tokens": None}, 400, "invalid_request_error"),
            ({"messages": [*USER, {"role": "assistant", "content": "It is"}]}, 400, "invalid_request_error"),
            ({"mod": "long"}, 400, "invalid_request_error"),
            ({"model": "claude-haiku-4-5"}, 404, "not_found_error"),
        ],
    )
    async def test_bad_requests(self, change: Any, status: int, kind: str) -> None:
        async with running(scripted("x")) as server:
            body = {"model": MODEL, "max_tokens": 9, "messages": USER} | change
            for stream in (False, True):
                response, error = await self._refused(server, body | {"stream": stream})
                assert (response.status_code, error.error.type) == (status, kind)
            await server.idle()

    async def test_a_budget_of_all_thinking_between_calls_may_be_more_than_max_tokens(self) -> None:
        body = {"model": MODEL, "max_tokens": 12, "messages": USER, "thinking": {"type": "enabled", "budget_tokens": 20}}
        betas = {"anthropic-beta": "files-api-2025-04-14, interleaved-thinking-2025-05-14"}
        async with running(scripted("x" * 50, "Four.")) as server, httpx.AsyncClient() as http:
            for path in ("messages", "messages/count_tokens"):
                assert (await http.post(f"{server.url}/{path}", json=body)).status_code == 400
                response = await http.post(f"{server.url}/{path}", json=body, headers=betas)
                assert response.status_code == 200
                assert response.json().get("usage", {"output_tokens": 12})["output_tokens"] <= 12

    async def test_keys(self) -> None:
        async with running(scripted("x"), api_key="right") as server:
            body = {"model": MODEL, "max_tokens": 9, "messages": USER}
            for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}):
                response, error = await self._refused(server, body, **headers)
                assert (response.status_code, error.error.type) == (401, "authentication_error")
                assert "x-api-key" in error.error.message
            async with client_of(server, api_key="right") as client:
                assert (await client.messages.create(**body)).type == "message"
            async with httpx.AsyncClient() as http:
                right, wrong = "Bearer right", "Bearer wrong"
                for headers in (
                    {"x-api-key": "right"},
                    {"authorization": right},
                    {"x-api-key": "wrong", "authorization": right},
                    {"x-api-key": "right", "authorization": wrong},
                ):
                    response = await http.post(f"{server.url}/messages", json=body, headers=headers)
                    assert response.status_code == 200

    async def test_a_body_that_is_too_large(self) -> None:
        async with running(scripted("x"), max_body_bytes=1024) as server:
            response, body = await self._raw(server, b"x" * 2000)
            assert (response, body["error"]["type"]) == (413, "request_too_large")

    async def _raw(self, server: Running, content: bytes) -> tuple[int, Any]:
        async with httpx.AsyncClient() as http:
            response = await http.post(f"{server.url}/messages", content=content)
        return response.status_code, response.json()

    async def test_overload_is_529_and_says_when_to_come_back(self) -> None:
        body = {"model": MODEL, "max_tokens": 9, "messages": USER}
        async with running(scripted("x"), max_concurrent_requests=1) as server:
            with server.state.admission.slot():
                response, error = await self._refused(server, body)
            assert (response.status_code, error.error.type) == (529, "overloaded_error")
            assert response.headers["retry-after"]
            server.state._service = None
            response, error = await self._refused(server, body)
            assert (response.status_code, error.error.type) == (529, "overloaded_error")

    async def test_engine_failure_is_a_status_before_the_first_token_and_an_event_after(self) -> None:
        async with running(engine := scripted("xyz")) as server, client_of(server) as client:
            failing(engine)
            body: Any = {"model": MODEL, "max_tokens": 9, "messages": USER, "mode": "short"}
            for stream in (False, True):
                response, error = await self._refused(server, body | {"stream": stream})
                assert (response.status_code, error.error.type) == (500, "api_error")
            failing(engine, after=2)
            last = (await events(server, mode="short"))[-1]
            assert ErrorResponse.model_validate(last).error.message == "The engine is gone."
            failing(engine, after=2)
            with pytest.raises(anthropic.APIStatusError, match=r"The engine is gone\."):
                async with client.messages.stream(model=MODEL, max_tokens=9, messages=USER, extra_body={"mode": "short"}) as s:
                    await s.get_final_message()
            await server.idle()

    async def test_a_client_that_leaves_ends_its_request(self) -> None:
        engine = scripted("xyz")
        held(engine)
        async with running(engine) as server, client_of(server) as client:
            async with client.messages.stream(model=MODEL, max_tokens=9, messages=USER, extra_body={"mode": "short"}) as stream:
                await anext(aiter(stream))
            await server.idle()
            assert len(engine.aborted) == 1


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"'])
async def test_arguments_that_cannot_be_sent_are_an_empty_object(value: str) -> None:
    call = f'<tool_call>\n{{"name": "add", "arguments": {{"a": {value}}}}}\n</tool_call>'
    tools: list[Any] = [{"name": "add", "input_schema": {"type": "object"}}]
    async with running(scripted(call)) as server:
        message = await ask(server, "short", tools=tools)
    assert [block.input for block in message.content if block.type == "tool_use"] == [{}]
