"""Granite's calls: Granite 3's list behind a marker, and Granite 4's, which are Hermes's."""

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core import tool_formats
from autotool_core.profile import Profile

GRANITE = Profile(name="granite", tool_format=tool_formats.get("granite3"))
TOOLS = [function_tool("f", {"a": {"type": "integer"}})]
TWO = (Call("f", '{"a": 1}'), Call("f", '{"a": 2}'))
OBJECTS = '{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 2}}'


@pytest.mark.parametrize(
    "text",
    [
        f"<|tool_call|>[{OBJECTS}]",
        f"<|tool_call|> [\n{OBJECTS}\n]",
        f"<tool_call> [{OBJECTS}]",
        f"<tool_call>[{OBJECTS}]</tool_call>",
        f"<|tool_call|>[{OBJECTS}",
        f"<|tool_call|>[{OBJECTS[:-1]}]",
    ],
)
def test_lists_of_calls(text: str) -> None:
    assert parse(GRANITE, f"Look: {text}\nDone.", "", TOOLS) == Turn("", "Look:Done.", TWO)


@pytest.mark.parametrize("text", ["<|tool_call|>", "<tool_call>[]", "<|tool_call|>f{}", "[1]</tool_call>"])
def test_what_is_no_list_of_calls_is_content(text: str) -> None:
    assert parse(GRANITE, f"a\n{text}", "", TOOLS) == Turn(content=f"a\n{text}")


def test_the_calls_of_granite_4_are_hermess() -> None:
    template = (
        '{% for c in message.tool_calls %}<tool_call>\n{"name": "{{ c.name }}", "arguments": {{ c.arguments }}}\n</tool_call>'
    )
    assert tool_formats.recognise(f"<|start_of_role|>assistant<|end_of_role|>{template}").name == "hermes"
