"""GLM's calls: the spacing of two generations, values as text, and what is lost or doubled."""

import json
from typing import Any

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core import tool_formats
from autotool_core.parsing.events import ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import Profile

GLM = Profile(name="glm", tool_format=tool_formats.get("glm45"))
TOOLS = [function_tool("f", {"s": {"type": "string"}, "i": {"type": "integer"}})]
CALL = (
    "<tool_call>f\n<arg_key>i</arg_key>\n<arg_value>1</arg_value>\n<arg_key>s</arg_key>\n<arg_value>x</arg_value>\n</tool_call>"
)
F = Call("f", '{"i": 1, "s": "x"}')


@pytest.mark.parametrize(
    "text",
    [CALL, CALL.replace("\n", ""), CALL.replace("\n", "\n  "), CALL.replace("l>f", "l>\nf"), CALL.replace(">i<", "> i <")],
)
def test_variants_of_the_tags_are_calls(text: str) -> None:
    assert parse(GLM, f"Look:\n{text}\n{text}", "", TOOLS) == Turn("", "Look:", (F, F))


@pytest.mark.parametrize("text", ["<tool_call>g</tool_call>", "<tool_call>g\n</tool_call>", "<tool_call>\n g \n</tool_call>"])
def test_no_parameters_and_unknown_names(text: str) -> None:
    assert parse(GLM, text, "", TOOLS) == Turn(calls=(Call("g", "{}"),))


@pytest.mark.parametrize("value", [" a ", "\na\n", "</tool_call>", "<arg_key>s</arg_key>", "<arg_value>", "90210", '{"a": 1}'])
def test_a_string_is_kept_as_written(value: str) -> None:
    text = f"<tool_call>f<arg_key>s</arg_key><arg_value>{value}</arg_value></tool_call>"
    assert json.loads(parse(GLM, text, "", TOOLS).calls[0].arguments) == {"s": value}


def arguments_of(inner: str) -> Any:
    (call,) = parse(GLM, f"<tool_call>f\n{inner}\n</tool_call>", "", TOOLS).calls
    assert call.complete
    return json.loads(call.arguments, object_pairs_hook=list)


def test_a_value_without_end_tag_does_not_swallow_the_next_parameter() -> None:
    assert arguments_of("<arg_key>s</arg_key><arg_value>a b\n<arg_key>i</arg_key>\n<arg_value>2</arg_value>") == [
        ("s", "a b"),
        ("i", 2),
    ]


def test_of_doubled_parameters_the_first_counts() -> None:
    doubled = "<arg_key>i</arg_key><arg_value>1</arg_value><arg_key>i</arg_key><arg_value>2</arg_value>"
    assert arguments_of(doubled) == [("i", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call></tool_call>",
        "<tool_call>f",
        "<tool_call>f\n",
        "<tool_call>f\n<arg_k",
        "<tool_call>two words\n</tool_call>",
        "<tool_call>f\nOops</tool_call>",
        '<tool_call>{"name": "f"}\nthen',
        "A <tool_call> is a marker.\n",
    ],
)
def test_what_is_no_call_is_content(text: str) -> None:
    assert parse(GLM, f"a\n{text}", "", TOOLS) == Turn(content=f"a\n{text}")


@pytest.mark.parametrize(
    ("text", "arguments", "content"),
    [
        ("<arg_key>i</arg_key><arg_value>1</arg_value>", '{"i": 1', ""),
        ("<arg_key>i</arg_key><arg_value>1", "", ""),
        ("<arg_key>i</arg_key>1</arg_value>", "", "1</arg_value>"),
        ("<arg_key>i\n</arg_key>", "", "\n</arg_key>"),
        ("<arg_key></arg_key>", "", "</arg_key>"),
        ("<arg_key>i</arg_key><arg_value>1</arg_value> so </tool_call>", '{"i": 1', "so </tool_call>"),
    ],
)
def test_a_call_cut_or_broken_after_its_start_has_no_end(text: str, arguments: str, content: str) -> None:
    turn = parse(GLM, f"<tool_call>f{text}", "", TOOLS)
    assert turn == Turn("", content, (Call("f", arguments, complete=False),))


def test_arguments_stream_one_parameter_at_a_time() -> None:
    parser = TurnParser(GLM, "", TOOLS)
    sent = [parser.feed(line) for line in CALL.splitlines(keepends=True)]
    assert sent[:3] == [[], [ToolCallStart(0, "f")], [ToolCallArguments(0, '{"i": 1')]]
    assert sent[3:] == [[], [ToolCallArguments(0, ', "s": "x"')], [ToolCallArguments(0, "}"), ToolCallEnd(0)]]


def test_a_value_without_its_end_tag_does_not_swallow_the_next_call() -> None:
    first = "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>Rome</tool_call>\n"
    second = "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>"
    tools = [function_tool("f", {"s": {"type": "string"}})]
    turn = parse(Profile(name="p", tool_format=tool_formats.get("glm45")), first + second, "", tools)
    assert [(call.arguments, call.complete) for call in turn.calls] == [('{"s": "Rome"}', True), ('{"s": "Oslo"}', True)]
    assert turn.content == ""
