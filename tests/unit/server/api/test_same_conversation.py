"""One conversation over three protocols, each with its official client: the same prompts, and the same tokens."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from support.serving import MODEL, Running, running, scripted

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
ANSWERS = (
    f"The city is Paris.\n</think>\n\nLet me look.\n{CALL}",
    "It is 21 degrees.\n</think>\n\nIt is warm.",
    "Hm.\n</think>\n\nYes.",
)
QUESTIONS = ("How is the weather in Paris?", "Should I go?")
RESULT = '{"degrees": 21}'
INSTRUCTIONS = "Answer in one sentence."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "Get the weather in a city."}
LONG = {"mode": "long"}

Usage = list[tuple[int, int]]
"""Prompt and decoded tokens of each request."""


async def over_chat(server: Running) -> Usage:
    messages: list[Any] = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": QUESTIONS[0]}]
    tools: Any = [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}]
    usage: Usage = []
    for step in range(3):
        completion = await server.client.chat.completions.create(model=MODEL, messages=messages, tools=tools, extra_body=LONG)
        assert completion.usage is not None
        usage.append((completion.usage.prompt_tokens, completion.usage.completion_tokens))
        message = completion.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": RESULT})
        elif step == 1:
            messages.append({"role": "user", "content": QUESTIONS[1]})
    return usage


async def over_responses(server: Running) -> Usage:
    items: list[Any] = [{"role": "user", "content": QUESTIONS[0]}]
    tools: Any = [{"type": "function", **TOOL, "parameters": SCHEMA, "strict": False}]
    usage: Usage = []
    for step in range(3):
        response = await server.client.responses.create(
            model=MODEL, instructions=INSTRUCTIONS, input=items, tools=tools, store=False, extra_body=LONG
        )
        assert response.usage is not None
        usage.append((response.usage.input_tokens, response.usage.output_tokens))
        items += [item.model_dump(exclude_none=True) for item in response.output]
        calls = [item for item in response.output if item.type == "function_call"]
        if calls:
            items.append({"type": "function_call_output", "call_id": calls[0].call_id, "output": RESULT})
        elif step == 1:
            items.append({"role": "user", "content": QUESTIONS[1]})
    return usage


async def over_messages(server: Running) -> Usage:
    messages: list[Any] = [{"role": "user", "content": QUESTIONS[0]}]
    tools: Any = [{**TOOL, "input_schema": SCHEMA}]
    usage: Usage = []
    async with AsyncAnthropic(base_url=server.url.removesuffix("/v1"), api_key="none", max_retries=0) as client:
        for step in range(3):
            message = await client.messages.create(
                model=MODEL, max_tokens=1000, system=INSTRUCTIONS, messages=messages, tools=tools, extra_body=LONG
            )
            cached = message.usage.cache_read_input_tokens or 0
            usage.append((message.usage.input_tokens + cached, message.usage.output_tokens))
            messages.append(
                {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]}
            )
            calls = [block for block in message.content if block.type == "tool_use"]
            if calls:
                result = {"type": "tool_result", "tool_use_id": calls[0].id, "content": RESULT}
                messages.append({"role": "user", "content": [result]})
            elif step == 1:
                messages.append({"role": "user", "content": QUESTIONS[1]})
    return usage


async def prompts_and_usage(converse: Callable[[Running], Awaitable[Usage]]) -> tuple[list[list[int]], Usage]:
    engine = scripted(*ANSWERS)
    async with running(engine) as server:
        usage = await converse(server)
    return [[*request.prompt_ids] for request in engine.requests], usage


@pytest.mark.parametrize("converse", [over_responses, over_messages])
async def test_a_conversation_has_the_same_prompts_and_tokens_as_over_chat(
    converse: Callable[[Running], Awaitable[Usage]],
) -> None:
    prompts, usage = await prompts_and_usage(over_chat)
    assert len(prompts) == 3
    assert await prompts_and_usage(converse) == (prompts, usage)
