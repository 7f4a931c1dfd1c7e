"""DeepSeek-V3.2's calls, whose tags say how a value is written."""

import json
from typing import Any

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core import tool_formats
from autotool_core.profile import Profile

DEEPSEEK = Profile(name="deepseek", tool_format=tool_formats.get("deepseek_v32"))
TOOLS = [function_tool("f", {"s": {"type": "string"}, "i": {"type": "integer"}, "u": {}})]


def written(*parameters: str) -> str:
    """Write the call of the tool f with these parameters: `s string="true">x`."""
    tags = "\n".join(f'<｜DSML｜parameter name="{text}</｜DSML｜parameter>' for text in parameters)
    return f'<｜DSML｜invoke name="f">\n{tags}\n</｜DSML｜invoke>'


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ('s" string="true">5', "5"),
        ('u" string="true">5', "5"),
        ('u" string="true">{"a": 1}', '{"a": 1}'),
        ('u" string="false">5', 5),
        ('u" string="false">{"a": [null]}', {"a": [None]}),
        ('u" string="false">"5"', "5"),
        ('u" string="false">no JSON', "no JSON"),
        ('s" string="false">5', "5"),
        ('s" string="false">"a"', "a"),
        ('i" string="false">True', True),
        ("u\" string = 'true' >null", "null"),
        ('u">null', None),
        ('s">null', "null"),
        ('s" string="true"> a\n<b>\n', " a\n<b>\n"),
    ],
)
def test_the_tag_says_whether_a_value_is_a_text(parameter: str, value: Any) -> None:
    (call,) = parse(DEEPSEEK, written(parameter), "", TOOLS).calls
    assert next(iter(json.loads(call.arguments).values())) == value


def test_sections_of_calls() -> None:
    call, read = written('s" string="true">x', 'i" string="false">1'), Call("f", '{"s": "x", "i": 1}')
    for text in (
        f"<｜DSML｜function_calls>\n{call}\n{call}\n</｜DSML｜function_calls>",
        f"<｜DSML｜function_calls>{call}{call}",
        f"<｜DSML｜function_calls>{call}{call.removesuffix('</｜DSML｜invoke>')}</｜DSML｜function_calls>",
        f"{call}\n{call}",
    ):
        assert parse(DEEPSEEK, f"Look:\n\n{text}", "", TOOLS) == Turn("", "Look:", (read, read))


def test_a_value_without_end_tag_does_not_swallow_the_next_parameter() -> None:
    text = written(
        's" string="true">a\n<｜DSML｜parameter name="u" string="true">7\n<｜DSML｜parameter name="i" string="false">2'
    )
    assert json.loads(parse(DEEPSEEK, text, "", TOOLS).calls[0].arguments) == {"s": "a", "u": "7", "i": 2}
