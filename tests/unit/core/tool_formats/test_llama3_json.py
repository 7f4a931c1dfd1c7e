"""Llama 3's bare JSON: what is a call, and what is only JSON."""

import json

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core import tool_formats
from autotool_core.parsing.events import ContentDelta
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import Profile

LLAMA = Profile(name="llama", think=None, tool_format=tool_formats.get("llama3_json"))
TOOLS = [function_tool("f", {"a": {"type": "integer"}}), function_tool("g")]
CALL = '{"name": "f", "parameters": {"a": 1}}'
F = Call("f", '{"a": 1}')


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"<|python_tag|>{CALL}",
        json.dumps(json.loads(CALL), indent=2),
        json.dumps(json.loads(CALL), indent=4),
        CALL.replace("parameters", "arguments"),
        '{"type": "function", "name": "f", "parameters": {"a": 1}}',
        '{ "name": "f", "parameters": {"a": 1} }',
    ],
)
def test_variants_of_the_object_are_calls(text: str) -> None:
    (call,) = parse(LLAMA, text, "", TOOLS).calls
    assert (call.name, json.loads(call.arguments), call.complete) == ("f", {"a": 1}, True)


@pytest.mark.parametrize("text", [f"<|python_start|><|python_end|>{CALL}", f"<|python_start|>\n{CALL}<|python_end|>"])
def test_llama_4_writes_markers_around_nothing_or_the_call(text: str) -> None:
    assert parse(LLAMA, f"Look:{text} Done.", "", TOOLS) == Turn("", "Look:Done.", (F,))


@pytest.mark.parametrize("text", ["<|python_start|><|python_end|>", "<|python_start|>print(1)<|python_end|>"])
def test_llama_4s_markers_alone_are_content(text: str) -> None:
    assert parse(LLAMA, text, "", TOOLS) == Turn(content=text)


@pytest.mark.parametrize("between", ["; ", ";", "\n", "", f"\n{tool_formats.get('llama3_json').markers[0]}"])
def test_several_calls(between: str) -> None:
    assert parse(LLAMA, f"Look:\n{CALL}{between}{CALL}", "", TOOLS) == Turn("", "Look:", (F, F))


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Bob", "age": 3}',
        '{"name": "Bob", "parameters": {"a": 1}}',
        '{"name": "Bob"}',
        '{"type": "object", "properties": {}}',
        '[{"name": "Ann"}, {"name": 1}]',
        '{"f": {"a": 1}}',
        "{ code }",
        "{",
        '{"name": "f"',
        "<|python_tag|>print(1)",
    ],
)
def test_other_json_is_content(text: str) -> None:
    assert parse(LLAMA, f"So:\n{text}", "", TOOLS) == Turn(content=f"So:\n{text}")


def test_a_call_behind_other_json_is_a_call() -> None:
    assert parse(LLAMA, f'{{"name": "Bob"}}\n{CALL}', "", TOOLS) == Turn("", '{"name": "Bob"}', (F,))


def test_text_behind_a_joint_that_is_no_call_is_content() -> None:
    assert parse(LLAMA, f"{CALL}; and so on", "", TOOLS) == Turn("", "; and so on", (F,))


def test_json_of_other_keys_streams() -> None:
    parser = TurnParser(LLAMA, "", TOOLS)
    assert parser.feed('{"title": "A') == [ContentDelta('{"title": "A')]


@pytest.mark.parametrize("text", ['He is {"name": "Bob", "age": 3}.', '{"name": "f", "parameters": {}}; and so on'])
def test_text_that_begins_no_call_stays_where_stray_markers_are_left_out(text: str) -> None:
    profile = Profile(name="p", tool_format=tool_formats.get("llama3_json"), drops_stray_markers=True)
    other = Profile(name="p", tool_format=tool_formats.get("llama3_json"))
    tools = [function_tool("f")]
    assert parse(profile, text, "", tools) == parse(other, text, "", tools)
