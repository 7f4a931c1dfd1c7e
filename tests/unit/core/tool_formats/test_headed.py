"""Calls whose name stands before a JSON object: Kimi's and DeepSeek's."""

import pytest
from support.parsing_turns import Call, Turn, function_tool, parse

from autotool_core import tool_formats
from autotool_core.parsing.events import ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import Profile
from autotool_core.tool_formats import deepseek_v31, kimi_k2

NAMES = ("deepseek_v3", "deepseek_v31", "kimi_k2")
TOOLS = [function_tool("f", {"a": {"type": "integer"}})]
TWO = (Call("f", '{"a": 1}'), Call("f", '{"a": 2}'))


def profile_of(name: str) -> Profile:
    return Profile(name="any", tool_format=tool_formats.get(name))


def two_calls(name: str) -> str:
    return tool_formats.get(name).render_calls([("f", {"a": 1}), ("f", {"a": 2})])


@pytest.mark.parametrize("name", NAMES)
def test_the_markers_of_a_section_may_be_missing(name: str) -> None:
    begin, end = tool_formats.get(name).section
    text = two_calls(name)
    for variant in (text, text.removeprefix(begin), text.removesuffix(end), text.removeprefix(begin).removesuffix(end)):
        assert parse(profile_of(name), f"Look:\n{variant}\nDone.", "", TOOLS) == Turn("", "Look:Done.", TWO)


@pytest.mark.parametrize("name", NAMES)
def test_the_close_marker_of_a_call_may_be_missing(name: str) -> None:
    text = two_calls(name).replace(tool_formats.get(name).close, "")
    assert parse(profile_of(name), text, "", TOOLS).calls == TWO


@pytest.mark.parametrize("name", NAMES)
def test_whitespace_between_markers_is_format(name: str) -> None:
    tool_format = tool_formats.get(name)
    text = two_calls(name)
    for marker in tool_format.markers:
        text = text.replace(marker, f"\n{marker}\n")
    assert parse(profile_of(name), text, "", TOOLS).calls[0] == TWO[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_call_without_arguments_has_empty_ones(name: str) -> None:
    text = tool_formats.get(name).render_calls([("f", {})]).replace("{}", "")
    assert parse(profile_of(name), text, "", TOOLS) == Turn(calls=(Call("f", "{}"),))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_call_is_content(name: str) -> None:
    tool_format = tool_formats.get(name)
    begin, end = tool_format.section
    call = two_calls(name).removeprefix(begin)
    for text in (begin, begin + end, f"{begin}Well.{end}", call[: call.index("{")], call.replace("{", "["), f"{begin}{begin}"):
        assert parse(profile_of(name), f"a\n{text}", "", TOOLS) == Turn(content=f"a\n{text}")


@pytest.mark.parametrize("name", NAMES)
def test_a_call_cut_in_its_arguments_has_no_end(name: str) -> None:
    text = two_calls(name)
    assert parse(profile_of(name), text[: text.index("1}")], "", TOOLS) == Turn(calls=(Call("f", '{"a": ', complete=False),))


def test_arguments_stream_as_they_are_written_and_numbers_once_they_end() -> None:
    parser = TurnParser(profile_of("deepseek_v31"), "", TOOLS)
    chunks = [deepseek_v31.OPEN_SECTION, deepseek_v31.OPEN, "f", deepseek_v31.SEPARATOR, '{"', "a", '": 1', "}"]
    sent = [parser.feed(chunk) for chunk in chunks]
    assert sent[:4] == [[]] * 4
    assert sent[4] == [ToolCallStart(0, "f"), ToolCallArguments(0, '{"')]
    assert sent[5:] == [
        [ToolCallArguments(0, "a")],
        [ToolCallArguments(0, '": ')],
        [ToolCallArguments(0, "1}"), ToolCallEnd(0)],
    ]


@pytest.mark.parametrize(
    ("call_id", "name"),
    [("functions.f:0", "f"), ("functions.a.b-c:12", "a.b-c"), ("f:3", "f"), ("functions.f", "f"), ("f", "f"), ("f:", "f")],
)
def test_kimis_ids_hold_the_name(call_id: str, name: str) -> None:
    text = f"{kimi_k2.OPEN}{call_id}<|tool_call_argument_begin|>{{}}{kimi_k2.CLOSE}"
    assert parse(profile_of("kimi_k2"), text, "", TOOLS) == Turn(calls=(Call(name, "{}"),))


def test_kimis_calls_are_numbered() -> None:
    assert [f"functions.f:{number}<" in two_calls("kimi_k2") for number in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("written", "arguments"),
    [('{"s": NaN, "x": True,}', '{"s": "NaN", "x": true}'), ('{"s": "a\nb"}', '{"s": "a\\nb"}')],
)
def test_miswritten_arguments_are_valid_json(written: str, arguments: str) -> None:
    profile = Profile(name="p", tool_format=tool_formats.get("mistral"))
    turn = parse(profile, f"[TOOL_CALLS]f[ARGS]{written}", "", [function_tool("f")])
    assert [(call.arguments, call.complete) for call in turn.calls] == [(arguments, True)]


def test_an_object_that_breaks_leaves_the_call_open() -> None:
    profile = Profile(name="p", tool_format=tool_formats.get("mistral"))
    turn = parse(profile, '[TOOL_CALLS]f[ARGS]{"s": "a"]}', "", [function_tool("f")])
    assert [call.complete for call in turn.calls] == [False]
    assert turn.content == "]}"
