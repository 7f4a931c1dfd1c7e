"""Tool calls as JSON in `<tool_call>`."""

import json

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core.parsing.events import ContentDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import BUILTIN

QWEN3 = BUILTIN["qwen3"]
TOOLS = [function_tool("f")]


def parse_body(body: str) -> Turn:
    return parse(QWEN3, f"<tool_call>{body}</tool_call>", "", TOOLS)


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ('\n{"name": "f", "arguments": {"a": 1}}\n', '{"a": 1}'),
        ('{"name":"f","arguments":{"a":1}}', '{"a":1}'),
        (' { "name" : "f" , "arguments" : { "a" : [1, {}] } } ', '{ "a" : [1, {}] }'),
        ('{"arguments": {"a": 1}, "name": "f"}', '{"a": 1}'),
        ('{"name": "f", "parameters": {"a": 1}}', '{"a": 1}'),
        ('{"parameters": "{\\"a\\": 1}", "name": "f"}', '{"a": 1}'),
        ('{"name": "f", "arguments": "{\\"a\\": \\"\\\\u00e9\\"}"}', '{"a": "\\u00e9"}'),
        ('{"name": "f", "arguments": " "}', "{}"),
        ('{"name": "f"}', "{}"),
        ('{"id": 3, "type": "function", "x": {"name": "g"}, "y": null, "name": "f", "arguments": {}, "z": [1]}', "{}"),
        ('{"name": "f", "arguments": {}, "name": "g", "parameters": {"b": 2}}', "{}"),
        ('{"na\\u006de": "\\u0066", "arguments": {}}', "{}"),
        ('{"name": "f",}', "{}"),
        ('{"arguments": {"a": 1}, "name": "f" , }', '{"a": 1}'),
    ],
)
def test_variants_of_the_json_are_calls(body: str, arguments: str) -> None:
    assert parse_body(body) == Turn(calls=(Call("f", arguments),))


@pytest.mark.parametrize(
    "value", ["</tool_call>", "<tool_call>", "}}", '"}', "\\", "\\\\", '\\"', "</think>", "\n", "é😀", "{["]
)
def test_strings_do_not_end_a_call(value: str) -> None:
    for arguments in (json.dumps({"a": value}), json.dumps({value: [value]}, ensure_ascii=False)):
        assert parse_body(f'{{"name": "f", "arguments": {arguments}}}') == Turn(calls=(Call("f", arguments),))
        encoded = json.dumps(arguments)
        assert parse_body(f'{{"arguments": {encoded}, "name": "f"}}') == Turn(calls=(Call("f", arguments),))


def test_unknown_names_are_calls() -> None:
    assert parse_body('{"name": "nobody/knows me", "arguments": {}}') == Turn(calls=(Call("nobody/knows me", "{}"),))


def test_an_unpaired_surrogate_can_be_sent_on() -> None:
    assert parse_body('{"name": "f\\ud800", "arguments": {}}') == Turn(calls=(Call("f\ufffd", "{}"),))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "f(x)",
        "[]",
        '[{"name": "f"}]',
        '"name"',
        "{}",
        "{,}",
        '{"name" "f"}',
        '{"name": 3, "arguments": {}}',
        '{"name": "", "arguments": {}}',
        '{"name": {"f": 1}}',
        '{"name": "\\x"}',
        '{"arguments": {"a": 1}}',
        '{"name": "f", "arguments": [1]}',
        '{"name": "f", "arguments": null}',
        '{"arguments": "[1]", "name": "f"}',
        '{"name": "f", "arguments": "[]"}',
        '{"name": "f", "arguments": "{} {}"}',
        '{"name": "f", "arguments": {\'a\': 1}}',
        '{"name": "f", "arguments": {a: 1}}',
        '{"name": "f", "arguments": {,}}',
        '{"arguments": "{", "name": "f"}',
        '{"function": {"name": "f", "arguments": {}}}',
        '{"name": "f"',
    ],
)
def test_what_is_no_call_is_content(body: str) -> None:
    text = f"Look: \n<tool_call>\n{body} \n</tool_call>\n"
    assert parse(QWEN3, text, "", TOOLS) == Turn(content=text)


def test_a_missing_last_brace_still_makes_a_call() -> None:
    assert parse_body('{"name": "f", "arguments": {"a": 1}\n') == Turn(calls=(Call("f", '{"a": 1}'),))


def test_a_superfluous_last_brace_is_content() -> None:
    assert parse_body('{"name": "f", "arguments": {}}}') == Turn("", "}</tool_call>", (Call("f", "{}"),))


def test_a_call_that_breaks_after_its_start_has_no_end() -> None:
    assert parse_body('{"name": "f", "arguments": {"a": 1} oops} ') == Turn(
        "", "oops} </tool_call>", (Call("f", '{"a": 1}', complete=False),)
    )
    assert parse_body('{"name": "f", "arguments": {"a": nil}}') == Turn(
        "", "nil}}</tool_call>", (Call("f", '{"a": ', complete=False),)
    )


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ('{"name": "f", "arguments": {"a": "x', '{"a": "x'),
        ('{"name": "f", "arguments": {"a": "</tool_call>', '{"a": "</tool_call>'),
        ('{"name": "f", "arguments": {"a": 1}', '{"a": 1}'),
    ],
)
def test_a_call_cut_in_its_arguments_has_no_end(body: str, arguments: str) -> None:
    assert parse(QWEN3, f"<tool_call>{body}", "", TOOLS) == Turn(calls=(Call("f", arguments, complete=False),))


@pytest.mark.parametrize(
    "body", ["", "\n", '\n{"name": "f"', '{"name": "f", "argum', '{"name": "f", "arguments": "{\\"a', '{"arguments": {"a": 1']
)
def test_a_call_cut_before_its_arguments_is_content(body: str) -> None:
    text = f"a \n<tool_call>{body}"
    assert parse(QWEN3, text, "", TOOLS) == Turn(content=text)


def test_arguments_stream() -> None:
    parser = TurnParser(QWEN3, "", TOOLS)
    chunks = [
        "<tool_call>\n",
        '{"name": "',
        "f",
        '", ',
        '"arguments": ',
        '{"',
        "a",
        '": "',
        "x",
        '\\"y"',
        "}",
        "}\n",
        "</tool_call>",
    ]
    sent = [parser.feed(chunk) for chunk in chunks]
    assert sent[:5] == [[]] * 5
    assert sent[5] == [ToolCallStart(0, "f"), ToolCallArguments(0, '{"')]
    assert sent[6:11] == [[ToolCallArguments(0, chunk)] for chunk in chunks[6:11]]
    assert sent[11:] == [[ToolCallEnd(0)], []]


def test_a_call_ends_with_its_body() -> None:
    parser = TurnParser(QWEN3, "", TOOLS)
    events = parser.feed('a <tool_call>{"name": "f"}')
    assert events == [ContentDelta("a"), ToolCallStart(0, "f"), ToolCallArguments(0, "{}"), ToolCallEnd(0)]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"a": "x\ty\n\x00"}', '{"a": "x\\ty\\n\\u0000"}'),
        ('{"k\n": 1}', '{"k\\n": 1}'),
        ('{"a": True, "b": [False, None, {"c": True}]}', '{"a": true, "b": [false, null, {"c": true}]}'),
        ('{"a": NaN, "b": -Infinity, "c": [Infinity]}', '{"a": "NaN", "b": "-Infinity", "c": ["Infinity"]}'),
        ('{"a": [1, 2,], "b": {"c": 3 , },\n}', '{"a": [1, 2], "b": {"c": 3  }\n}'),
        (r'{"a": "\d+\.\(\q"}', r'{"a": "\\d+\\.\\(\\q"}'),
        (r'{"a": "C:\users \u12g"}', r'{"a": "C:\\users \\u12g"}'),
        (r'{"a": "it\'s \x41\x4"}', r'{"a": "it' + "'" + r's \u0041\\x4"}'),
        ('{"a": "True, NaN, ], }"}', '{"a": "True, NaN, ], }"}'),
        ('{"a": -1.5e+3, "b": 0, "c": 1E5}', '{"a": -1.5e+3, "b": 0, "c": 1E5}'),
    ],
)
def test_arguments_that_are_no_json_are_repaired_where_they_mean_one_thing(written: str, read: str) -> None:
    json.loads(read)
    assert parse_body(f'{{"name": "f", "arguments": {written}}}') == Turn(calls=(Call("f", read),))
    assert parse_body(f'{{"arguments": {written}, "name": "f"}}') == Turn(calls=(Call("f", read),))
    assert parse_body(f'{{"name": "f", "arguments": {json.dumps(written)}}}') == Turn(calls=(Call("f", read),))


@pytest.mark.parametrize(
    "value",
    ["nil", "01", "+1", ".5", "1.", "0x1F", "1_000", "true1", "'x'", "[,]", "[1,,2]", "[1}", "1 2", "undefined", "\u0663"],
)
def test_arguments_that_mean_nothing_certain_make_no_complete_call(value: str) -> None:
    turn = parse_body(f'{{"name": "f", "arguments": {{"a": {value}}}}}')
    assert [call.complete for call in turn.calls] == [False]
    assert parse_body(f'{{"arguments": {{"a": {value}}}, "name": "f"}}').calls == ()
