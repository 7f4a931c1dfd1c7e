"""MiniMax's calls in tags with attributes."""

import json

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core import tool_formats
from autotool_core.profile import Profile

MINIMAX = Profile(name="minimax", tool_format=tool_formats.get("minimax_m2"))
TOOLS = [function_tool("f", {"s": {"type": "string"}, "i": {"type": "integer"}})]
CALL = '<invoke name="f">\n<parameter name="i">1</parameter>\n<parameter name="s">x</parameter>\n</invoke>'
F = Call("f", '{"i": 1, "s": "x"}')


@pytest.mark.parametrize(
    "call", [CALL, CALL.replace("\n", ""), CALL.replace('"', "'"), CALL.replace('"', ""), CALL.replace("\n", "\n    ")]
)
def test_variants_of_the_tags_are_calls(call: str) -> None:
    for text in (
        f"<minimax:tool_call>\n{call}\n{call}\n</minimax:tool_call>",
        f"<minimax:tool_call>{call}\n{call}",
        call + call,
    ):
        assert parse(MINIMAX, f"Look:\n{text}\n", "", TOOLS) == Turn("", "Look:", (F, F))


@pytest.mark.parametrize("value", [" a ", "\na\n", "</invoke>", "<b a='1'>", '<parameter name="s">', "90210", "null"])
def test_a_string_is_kept_as_written(value: str) -> None:
    text = f'<invoke name="f"><parameter name="s">{value}</parameter></invoke>'
    assert json.loads(parse(MINIMAX, text, "", TOOLS).calls[0].arguments) == {"s": value}


def test_a_value_without_end_tag_does_not_swallow_the_next_parameter() -> None:
    text = '<invoke name="f"><parameter name="s"> a\n<parameter name="i">2</parameter>\n</invoke>'
    assert json.loads(parse(MINIMAX, text, "", TOOLS).calls[0].arguments) == {"s": " a", "i": 2}


def test_of_doubled_parameters_the_first_counts() -> None:
    text = '<invoke name="f"><parameter name="i">1</parameter><parameter name="i">2</parameter></invoke>'
    assert parse(MINIMAX, text, "", TOOLS) == Turn(calls=(Call("f", '{"i": 1}'),))


@pytest.mark.parametrize(
    "text",
    [
        "<minimax:tool_call>",
        "<minimax:tool_call>\n</minimax:tool_call>",
        '<invoke name="">',
        '<invoke name="f',
        '<invoke name="f"\n>',
        '<invoke name="two words"></invoke>',
        '<invoke name="f">Oops</invoke>',
    ],
)
def test_what_is_no_call_is_content(text: str) -> None:
    assert parse(MINIMAX, f"a\n{text}", "", TOOLS) == Turn(content=f"a\n{text}")


def test_a_call_broken_after_its_start_has_no_end() -> None:
    text = '<invoke name="f"><parameter name="i">1</parameter>Oops'
    assert parse(MINIMAX, text, "", TOOLS) == Turn("", "Oops", (Call("f", '{"i": 1', complete=False),))


def test_a_value_without_its_end_tag_does_not_swallow_the_next_call() -> None:
    first = '<minimax:tool_call>\n<invoke name="f">\n<parameter name="s">Rome</invoke>\n'
    second = '<invoke name="f">\n<parameter name="s">Oslo</parameter>\n</invoke>\n</minimax:tool_call>'
    tools = [function_tool("f", {"s": {"type": "string"}})]
    turn = parse(Profile(name="p", tool_format=tool_formats.get("minimax_m2")), first + second, "", tools)
    assert [(call.arguments, call.complete) for call in turn.calls] == [('{"s": "Rome"}', True), ('{"s": "Oslo"}', True)]
    assert turn.content == ""
