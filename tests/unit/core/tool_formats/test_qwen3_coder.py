"""Tool calls as XML in `<tool_call>`, and the typing of their values."""

import json
from typing import Any

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core.parsing.events import ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import Section, TurnParser
from autotool_core.profile import BUILTIN

CODER = BUILTIN["qwen3-coder"]
TOOLS = [function_tool("f", {"s": {"type": "string"}, "i": {"type": "integer"}})]
CALL = "<tool_call>\n<function=f>\n<parameter=i>\n1\n</parameter>\n<parameter=s>\nx\n</parameter>\n</function>\n</tool_call>"
F = Call("f", '{"i": 1, "s": "x"}')


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        CALL.replace("\n", ""),
        CALL.removeprefix("<tool_call>\n"),
        CALL.removesuffix("\n</tool_call>"),
        CALL.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"),
        CALL.replace("\n", "\n  ").replace("  x", "x").replace("x\n  ", "x\n"),
        CALL.replace("=f>", "= f >").replace("=s>", "=s >"),
    ],
)
def test_variants_of_the_tags_are_calls(text: str) -> None:
    assert parse(CODER, f"Look:\n{text}\n", "", TOOLS) == Turn("", "Look:", (F,))


def test_several_calls() -> None:
    inner = CALL.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    for text in (f"{CALL}\n{CALL}", f"<tool_call>\n{inner}\n{inner}\n</tool_call>", f"{inner}\n{inner}"):
        assert parse(CODER, text, "", TOOLS) == Turn(calls=(F, F))


def test_no_parameters_and_unknown_names() -> None:
    assert parse(CODER, "<function=g>\n</function>", "", TOOLS) == Turn(calls=(Call("g", "{}"),))


def test_text_in_values_is_kept_as_written() -> None:
    value = '\n  <b a="1">\n</function>\n<parameter=x>\n</tool_call> {\\n} é\n'
    turn = parse(CODER, f"<function=f><parameter=s>\n{value}\n</parameter></function>", "", TOOLS)
    assert json.loads(turn.calls[0].arguments) == {"s": value}


ZIP = {"type": "string", "pattern": "^[0-9]{5}$"}
DEFINITIONS = {"$defs": {"Colour": {"enum": ["red", "1"]}, "Tree": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}}}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "1", "1"),
        ({"type": "string"}, '"a"', '"a"'),
        ({"type": "string"}, " a ", " a "),
        ({"type": "string"}, "null", "null"),
        ({"type": "integer"}, " 1 ", 1),
        ({"type": "integer"}, "one", "one"),
        ({"type": "number"}, "1.50", 1.5),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "number"}, "9" * 5000, "9" * 5000),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "null"}, "None", None),
        ({"type": "array"}, "[1,\n 2]", [1, 2]),
        ({"type": "array"}, "[" * 100_000, "[" * 100_000),
        ({"type": "object"}, '{"a": {"b": null}}', {"a": {"b": None}}),
        ({"type": "object"}, "", ""),
        ({"type": ["string", "null"]}, "null", None),
        ({"type": ["string", "null"]}, "5", "5"),
        ({"type": ["string", "integer"]}, "5", 5),
        ({"type": ["string", "integer"]}, '"5"', '"5"'),
        ({"type": ["string", "number"]}, "5", 5),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "None", "None"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "None", None),
        ({"oneOf": [{"type": "string"}, {"type": "array"}]}, "[]", []),
        ({"allOf": [{"$ref": "#/$defs/Colour"}, {"description": "a colour"}]}, "1", "1"),
        ({"$ref": "#/$defs/Colour"}, "1", "1"),
        ({"$ref": "#/$defs/Tree"}, "null", None),
        ({"$ref": "#/$defs/Nowhere/else"}, "1", 1),
        ({"$ref": "https://example.org/schema"}, "1", 1),
        ({"enum": ["1", None]}, "1", "1"),
        ({"enum": ["1", 2]}, "1", "1"),
        ({"enum": ["1", 2]}, "2", 2),
        ({"enum": ["[1]", [2.0]]}, "[1]", "[1]"),
        ({"enum": ["[1]", [2.0]]}, "[2]", [2]),
        ({"enum": ["true", 1]}, "true", "true"),
        ({"anyOf": [ZIP, {"type": "integer", "minimum": 100_000}]}, "90210", "90210"),
        ({"anyOf": [ZIP, {"type": "integer", "minimum": 100_000}]}, "902100", 902100),
        ({"type": ["string", "number"], "maximum": 5}, "1e999", "1e999"),
        ({"type": ["string", "number"]}, "NaN", "NaN"),
        ({"const": "1"}, "1", "1"),
        ({"const": 1}, "1", 1),
        ({}, "1", 1),
        ({}, "a", "a"),
        (True, "1", 1),
    ],
)
def test_values_are_typed_by_the_schema(schema: Any, text: str, value: Any) -> None:
    tools = [function_tool("f", {"a": schema}, **DEFINITIONS)]
    turn = parse(CODER, f"<function=f>\n<parameter=a>\n{text}\n</parameter>\n</function>", "", tools)
    assert json.loads(turn.calls[0].arguments) == {"a": value}
    assert type(json.loads(turn.calls[0].arguments)["a"]) is type(value)


def test_a_tool_without_parameters_leaves_values_to_json() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    turn = parse(CODER, "<function=f><parameter=a>1</parameter><parameter=b>x</parameter></function>", "", tools)
    assert turn == Turn(calls=(Call("f", '{"a": 1, "b": "x"}'),))


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call>\n{}\n</tool_call>",
        "<tool_call>\n<func>",
        "<function=>",
        "<function=\nf>",
        "<function=f",
        "<function=f>",
        "<function=f> <parameter",
        "<function=f>(1)</function>",
        "Write <function=NAME> \n and <tool_call>.\n",
        "<function=<function=",
    ],
)
def test_what_is_no_call_is_content(text: str) -> None:
    assert parse(CODER, f"a\n{text}", "", TOOLS) == Turn(content=f"a\n{text}")


@pytest.mark.parametrize(
    ("text", "arguments", "content"),
    [
        ("<function=f><parameter=i>1</parameter>", '{"i": 1', ""),
        ("<function=f><parameter=i>1</parameter><parameter=s>x", '{"i": 1', ""),
        ("<function=f><parameter=i", "", ""),
        ("<function=f><parameter=i>1</parameter> so </function>", '{"i": 1', "so </function>"),
        ("<function=f><parameter=\ni>1</parameter>", "", "\ni>1</parameter>"),
    ],
)
def test_a_call_cut_or_broken_after_its_start_has_no_end(text: str, arguments: str, content: str) -> None:
    assert parse(CODER, text, "", TOOLS) == Turn("", content, (Call("f", arguments, complete=False),))


def test_arguments_stream_one_parameter_at_a_time() -> None:
    parser = TurnParser(CODER, "", TOOLS)
    sent = [parser.feed(line) for line in CALL.splitlines(keepends=True)]
    assert sent[:3] == [[], [], [ToolCallStart(0, "f")]]
    assert sent[3:5] == [[], [ToolCallArguments(0, '{"i": 1')]]
    assert sent[5:8] == [[], [], [ToolCallArguments(0, ', "s": "x"')]]
    assert sent[8:] == [[ToolCallArguments(0, "}"), ToolCallEnd(0)], []]


def test_the_section_lasts_to_the_close_marker() -> None:
    parser = TurnParser(CODER, "", TOOLS)
    parser.feed(CALL[:-1])
    assert parser.section is Section.TOOL_CALL
    parser.feed(CALL[-1])
    assert parser.section is Section.CONTENT


VALUES = [
    "<parameter=i>\n1\n<parameter=s>\nx\n</parameter>\n</function>",
    "<parameter=i>1<parameter=s>x</parameter></function>",
    "<parameter=i>\n1\n  <parameter=s>\nx\n</function>\n</tool_call>",
    "<parameter=i>1<parameter=s>x</function></tool_call>",
    "<parameter=i>\n1\n</param>\n<parameter=s>\nx\n</parameters>\n</function>",
    "<parameter=i>\n1\n</i>\n<parameter=s>\nx\n</s>\n</function>",
    "<parameter=i>\n1\n</parameter=i>\n<parameter=s>\nx\n</parameter\n</function>",
    "<parameter=i>\n1\n</parameter\n<parameter=s>\nx\n</parameter\n</function>",
    "<parameter=i>1</param><parameter=s>x</Parameter></function>",
    "<parameter=i>\n1\n</parameter>\n</parameter>\n<parameter=s>\nx\n</parameter>\n</function>",
    "<parameter=i>\n1\n</parameter>\n</parameter\n<parameter=s>\nx\n</parameter>\n</function>",
    "<parameter=i>\n1\n</parameter>\n<parameter=s>\nx\n</parameter>\n</func>",
    "<parameter=i>\n1\n</parameter>\n<parameter=s>\nx\n</parameter>\n</f>",
    "<parameter=i>\n1\n</parameter>\n<parameter=s>\nx\n</parameter>\n</function\n</tool_call>",
    "<parameter=i>\n1\n</parameter>\n<parameter=s>\nx\n</parameter>\n</tool_call>",
    "<parameter=i>\n1\n</parameter>\n<parameter=s>\nx\n</parameter>\n</tool_call\n",
    "<parameter=i>\n1\n</parameter>\n<parameter=s>\nx\n</param>\n</tool_call>",
    "<parameter=i>\n1\n</parameter>\n<parameter=i>\n2\n</parameter>\n<parameter=s>\nx\n</parameter>\n</function>",
    "<parameter=i>\n1\n<parameter=i>\n2\n<parameter=s>\nx\n</parameter>\n<parameter=s>\ny\n</parameter>\n</function>",
]


@pytest.mark.parametrize("text", VALUES)
def test_a_wrong_or_missing_end_tag_ends_its_own_value_only(text: str) -> None:
    assert parse(CODER, f"<function=f>\n{text}", "", TOOLS) == Turn(calls=(F,))
    assert parse(CODER, f"<tool_call>\n<function=f>\n{text}\n{CALL}\nDone.", "", TOOLS) == Turn("", "Done.", (F, F))


@pytest.mark.parametrize("end", ["\n</function>\n", "\n</tool_call>\n", "\n</parameter>\n", "\n</parameter>\n</function>\n"])
def test_a_lost_end_does_not_swallow_the_next_call(end: str) -> None:
    text = f"<tool_call>\n<function=f>\n<parameter=i>\n1\n</parameter>\n<parameter=s>\nx{end}"
    assert parse(CODER, f"{text}{CALL}", "", TOOLS) == Turn(calls=(F, F))


@pytest.mark.parametrize(
    "value",
    [
        "a <parameter=i> b",
        "a\n<parameter=unknown>\nb",
        "<i>\n1\n</i>",
        "a </param> b",
        "if a </i> b",
        "<function>\n</function>\n<a>\n</function>",
        "</>\n</div>\n</tool_call>\n</function>",
        "<tool_call>\n<function=f>\n</function>\n</tool_call>\n<tool_call>\n<function=f>\n</function>\n</tool_call>",
        "<function=f>\n<parameter=i>\n",
        "<parameter=",
        "<parameter=i\n>",
        "<parameter=<parameter=i",
    ],
)
def test_text_that_looks_like_tags_stays_in_its_value(value: str) -> None:
    turn = parse(CODER, f"<function=f>\n<parameter=s>\n{value}\n</parameter>\n</function>", "", TOOLS)
    assert [(json.loads(call.arguments), call.complete) for call in turn.calls] == [({"s": value}, True)]


def test_a_tool_without_described_parameters_may_have_any() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    turn = parse(CODER, "<function=f>\n<parameter=a>\n1\n<parameter=b>\nx\n</parameter>\n</function>", "", tools)
    assert turn == Turn(calls=(Call("f", '{"a": 1, "b": "x"}'),))


def test_an_end_tag_of_something_else_breaks_a_call() -> None:
    text = "<function=f><parameter=i>1</parameter>\n</div>\n</function>"
    assert parse(CODER, text, "", TOOLS) == Turn("", "</div>\n</function>", (Call("f", '{"i": 1', complete=False),))
    text = "<function=f><parameter=i>1</parameter>\n</function it is"
    assert parse(CODER, f"{text}\n", "", TOOLS) == Turn("", "</function it is\n", (Call("f", '{"i": 1', complete=False),))
