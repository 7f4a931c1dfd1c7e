"""Messages that other servers and clients have written: what they added is left out, older forms are understood."""

from typing import Any

import httpx
import pytest
from support.serving import Running, running, scripted

USER = {"role": "user", "content": "2+2?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
ASKED = "<|im_start|>user\n2+2?<|im_end|>\n"
HEAD = f"{ASKED}<|im_start|>assistant\n"
PROMPT = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
TAIL = f"<|im_end|>\n{PROMPT}"
CALL_TEXT = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'


async def send(server: Running, messages: list[Any], **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": messages, "mode": "short"} | fields
        return await client.post(f"{server.url}/chat/completions", json=body)


async def prompt_of(*messages: Any) -> str:
    """Return the prompt of the messages; no part of them may have been reported as ignored."""
    engine = scripted("Fine.")
    async with running(engine) as server:
        response = await send(server, [USER, *messages])
        assert response.status_code == 200, response.text
        assert "x-autotool-ignored" not in response.headers
    return engine.tokenizer.decode(engine.requests[0].prompt_ids)


async def test_unknown_keys_of_messages_parts_and_calls_are_left_out() -> None:
    answer = {
        "role": "assistant",
        "content": [{"type": "text", "text": "Adding.", "cache_control": {"type": "ephemeral"}, "annotations": []}],
        "tool_calls": [{**CALL, "provider_specific_fields": {"x": 1}, "index": 0}],
        "provider_specific_fields": {"refusal": None},
        "annotations": [],
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}],
        "audio": None,
        "refusal": None,
        "function_call": None,
    }
    result = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "4", "x": 1}], "is_error": False}
    assert await prompt_of(answer, result) == f"{HEAD}Adding.{CALL_TEXT}<|im_end|>\n<|im_start|>tool\n4{TAIL}"


async def test_a_function_call_and_its_result_are_a_tool_call_and_its_result() -> None:
    answer = {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": '{"a":2}'}}
    result = {"role": "function", "name": "add", "content": "4"}
    assert await prompt_of(answer, result) == f"{HEAD}{CALL_TEXT}<|im_end|>\n<|im_start|>tool\n4{TAIL}"


@pytest.mark.parametrize(
    "content", [[{"type": "refusal", "refusal": "No."}], [{"type": "output_text", "text": "No.", "annotations": []}], "No."]
)
async def test_the_kinds_of_text_in_an_answer(content: Any) -> None:
    assert await prompt_of({"role": "assistant", "content": content}, USER) == f"{HEAD}No.<|im_end|>\n{ASKED}{PROMPT}"


async def test_a_null_result_is_an_empty_one() -> None:
    answer = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    prompt = await prompt_of(answer, {"role": "tool", "tool_call_id": "c1", "content": None})
    assert prompt == f"{HEAD}{CALL_TEXT}<|im_end|>\n<|im_start|>tool\n{TAIL}"


@pytest.mark.parametrize("arguments", ['{"a":2}', '{"a": 2}', ' {\n  "a" : 2\n}'])
async def test_the_spacing_of_arguments_does_not_matter(arguments: str) -> None:
    call = {**CALL, "function": {"name": "add", "arguments": arguments}}
    assert CALL_TEXT in await prompt_of({"role": "assistant", "tool_calls": [call]})


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "user"}, "messages.1.content"),
        ({"role": "tool", "tool_call_id": "c1"}, "messages.1.content"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "messages.1.content.0.type"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages.1.content.0.type"),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}, "messages.1.content.0.type"),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, "messages.1.audio"),
        ({"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]}, "messages.1.tool_calls.0.type"),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
            "messages.1.tool_calls.0.function.arguments",
        ),
        ({"role": "assistant", "function_call": {"name": "f"}}, "messages.1.function_call.arguments"),
    ],
)
async def test_what_would_be_lost_is_refused(message: dict[str, Any], field: str) -> None:
    async with running(scripted("x")) as server:
        response = await send(server, [USER, message])
        assert (response.status_code, response.json()["error"]["param"]) == (400, field)
