"""Mistral's calls of three generations of its tokenizer."""

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core import tool_formats
from autotool_core.profile import Profile

NEW = Profile(name="new", tool_format=tool_formats.get("mistral"))
OLD = Profile(name="old", tool_format=tool_formats.get("mistral_list"))
TOOLS = [function_tool("f", {"a": {"type": "integer"}})]
TWO = (Call("f", '{"a": 1}'), Call("f", '{"a": 2}'))


@pytest.mark.parametrize("between", ["[ARGS]", "", "[CALL_ID]abcdefghi[ARGS]", " [ARGS] ", "[CALL_ID]abcdefghi"])
def test_variants_of_the_head_are_calls(between: str) -> None:
    text = f'[TOOL_CALLS]f{between}{{"a": 1}}[TOOL_CALLS]f{between}{{"a": 2}}'
    assert parse(NEW, f"Look: {text}\nDone.", "", TOOLS) == Turn("", "Look:Done.", TWO)


@pytest.mark.parametrize(
    "text", ["[TOOL_CALLS]", "[TOOL_CALLS]f", "[TOOL_CALLS]f[ARGS]", "[TOOL_CALLS][ARGS]{}", "[TOOL_CALLS]two words{}"]
)
def test_what_is_no_call_is_content(text: str) -> None:
    assert parse(NEW, f"a\n{text}", "", TOOLS) == Turn(content=f"a\n{text}")


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 2}}]',
        '[{"name": "f", "arguments": {"a": 1}, "id": "abcdefghi"},{"name": "f", "arguments": {"a": 2}, "id": "bcdefghij"}]',
        ' [\n{"arguments": {"a": 1}, "name": "f"} ,\n{"name": "f", "arguments": {"a": 2}}\n]',
        '[{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 2}}',
    ],
)
def test_lists_of_calls(text: str) -> None:
    assert parse(OLD, f"Look: [TOOL_CALLS]{text}\nDone.", "", TOOLS) == Turn("", "Look:Done.", TWO)


@pytest.mark.parametrize(
    "text", ["[TOOL_CALLS]", "[TOOL_CALLS][", "[TOOL_CALLS][]", "[TOOL_CALLS]f{}", '[TOOL_CALLS]["f"]', "a [ b, c ]"]
)
def test_what_is_no_list_of_calls_is_content(text: str) -> None:
    assert parse(OLD, f"a\n{text}", "", TOOLS) == Turn(content=f"a\n{text}")


def test_a_joint_behind_the_list_begins_no_call() -> None:
    text = '[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}], {"name": "f", "arguments": {"a": 2}}'
    assert parse(OLD, text, "", TOOLS) == Turn("", ', {"name": "f", "arguments": {"a": 2}}', TWO[:1])


def test_text_behind_a_joint_that_is_no_call_is_content() -> None:
    text = '[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}, etc.'
    assert parse(OLD, text, "", TOOLS) == Turn("", ", etc.", TWO[:1])
