"""Tokens of Anthropic's Messages: limits, usage and the count of a prompt."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import anthropic
import pytest
from support.messages import ADD, CALL, USER, ask, client_of, events, shown
from support.serving import MODEL, running, scripted
from support.tiny import make_tokenizer

from autotool_server.engines.base import EngineRequest, TokenDelta
from autotool_server.engines.scripted import ScriptedEngine


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
