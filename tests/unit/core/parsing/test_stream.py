"""The turn's state machine: think block, content, and where tool calls stand in them."""

import json

import pytest
from support.parsing_turns import Call, Turn, function_tool, joined, parse, run
from support.real_tokenizers import folder, needs
from transformers import AutoTokenizer

from autotool_core.parsing.events import ContentDelta, ReasoningDelta, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import Section, TurnParser
from autotool_core.profile import BUILTIN, Profile, ThinkFormat

QWEN3 = BUILTIN["qwen3"]
PLAIN = BUILTIN["plain"]
LONG, SHORT = "<think>\n", "<think>\n\n</think>\n\n"
TOOLS = [function_tool("f")]
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
F = Call("f", "{}")


@pytest.mark.parametrize(
    ("profile", "prefix", "section"),
    [
        (QWEN3, LONG, Section.REASONING),
        (QWEN3, "<think>", Section.REASONING),
        (QWEN3, SHORT, Section.CONTENT),
        (QWEN3, "", Section.CONTENT),
        (PLAIN, "", Section.CONTENT),
        (PLAIN, LONG, Section.CONTENT),
    ],
)
def test_the_prefix_decides_where_a_turn_begins(profile: Profile, prefix: str, section: Section) -> None:
    assert TurnParser(profile, prefix).section is section


@pytest.mark.parametrize("prefix", [LONG, SHORT, "<think>", "Sure, \n", "<think>\nOkay,\n", " \n", "<thi"])
@pytest.mark.parametrize("tools", [[], TOOLS])
def test_the_prefix_makes_no_events(prefix: str, tools: list[dict[str, object]]) -> None:
    events, _ = run(QWEN3, [], prefix, tools)
    assert events == []
    turn = parse(QWEN3, "x", prefix, tools)
    assert turn.reasoning + turn.content == "x"


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (LONG, "Let me see.\n</think>\n\nParis"),
        ("<think>", "\nLet me see.\n</think>\n\nParis"),
        ("", "<think>\nLet me see.\n</think>\n\nParis"),
        ("", "\n <think>Let me see.</think>Paris"),
        (LONG, "\n\nLet me see.\n\n\n</think>\nParis"),
    ],
)
def test_newlines_around_the_markers_are_format(prefix: str, text: str) -> None:
    assert parse(QWEN3, text, prefix) == Turn("Let me see.", "Paris")


@pytest.mark.parametrize("tools", [[], TOOLS])
def test_whitespace_inside_the_texts_and_indentation_stay(tools: list[dict[str, object]]) -> None:
    turn = parse(QWEN3, "  a\n\nb \n</think>\n\n    c\n\n  d \n", LONG, tools)
    assert turn == Turn("  a\n\nb ", "    c\n\n  d \n")


def test_an_empty_block_is_no_reasoning() -> None:
    assert parse(QWEN3, "<think>\n\n</think>\n\nParis") == Turn(content="Paris")


@pytest.mark.parametrize("text", ["a <think> b", "</think> a", "a </think>\n b", "<think", "< think>a"])
def test_markers_elsewhere_than_at_the_start_are_content(text: str) -> None:
    assert parse(QWEN3, text) == Turn(content=text)


def test_a_model_that_thinks_after_a_closed_block_writes_content() -> None:
    assert parse(QWEN3, "<think>a</think>b", SHORT) == Turn(content="<think>a</think>b")


def test_a_second_open_marker_is_reasoning() -> None:
    assert parse(QWEN3, "<think>a</think>b", LONG) == Turn("<think>a", "b")


def test_a_model_that_cannot_think_has_no_markers() -> None:
    assert parse(PLAIN, "<think>a</think>b") == Turn(content="<think>a</think>b")


def test_calls_inside_the_think_block_are_reasoning() -> None:
    assert parse(QWEN3, f"{CALL}\n</think>\n\n{CALL}", LONG, TOOLS) == Turn(CALL, "", (F,))


@pytest.mark.parametrize("end", ["", "\n", "\n\n</thi"])
def test_a_turn_that_ends_inside_the_block_is_reasoning_only(end: str) -> None:
    assert parse(QWEN3, f"Hm{end}", LONG, TOOLS) == Turn(f"Hm{end}")


def test_the_markers_are_those_of_the_profile() -> None:
    think = ThinkFormat(open="[THINK]", close="[/THINK]", long_prefix="[THINK]")
    profile = Profile(name="brackets", think=think)
    assert parse(profile, "[THINK]a </think> [b[/THINK]c") == Turn("a </think> [b", "c")
    assert parse(profile, "a[/THINK]c", "[THINK]") == Turn("a", "c")


def test_without_tools_calls_are_content() -> None:
    assert parse(QWEN3, f"a\n{CALL}\n") == Turn(content=f"a\n{CALL}\n")


def test_whitespace_around_calls_is_format() -> None:
    text = f" \nOne.\n\n{CALL}\n \r\n{CALL}{CALL}\n\n"
    assert parse(QWEN3, text, SHORT, TOOLS) == Turn("", " \nOne.", (F, F, F))


def test_text_behind_a_call_is_content() -> None:
    assert parse(QWEN3, f"a {CALL} b\n", "", TOOLS) == Turn("", "ab\n", (F,))


def test_trailing_whitespace_without_a_call_is_content() -> None:
    parser = TurnParser(QWEN3, "", TOOLS)
    assert parser.feed("a \n") == [ContentDelta("a")]
    assert parser.feed("\n") == []
    assert parser.feed("b") == [ContentDelta(" \n\nb")]
    assert parser.feed(" ") == []
    assert parser.finish() == [ContentDelta(" ")]


def test_a_plain_token_is_returned_at_once() -> None:
    parser = TurnParser(QWEN3, LONG, TOOLS)
    assert parser.feed("Hm") == [ReasoningDelta("Hm")]
    assert parser.feed(", 1 <") == [ReasoningDelta(", 1 ")]
    assert parser.feed(" 2") == [ReasoningDelta("< 2")]
    parser.feed("</think>")
    assert parser.feed("Yes") == [ContentDelta("Yes")]


def test_whitespace_is_not_held_back_without_tools() -> None:
    assert TurnParser(QWEN3, SHORT).feed("a\n") == [ContentDelta("a\n")]


def test_a_second_finish_makes_no_events() -> None:
    for text in ("", " ", "a <too", "a\n<tool_call>", CALL[:30], CALL, CALL[:-3]):
        parser = TurnParser(QWEN3, "", TOOLS)
        parser.feed(text)
        parser.finish()
        assert parser.finish() == []


def test_the_section_follows_the_markers() -> None:
    parser = TurnParser(QWEN3, LONG, TOOLS)
    sections = list[Section]()
    for chunk in ("Hm", "</thi", "nk>", "\n\na", "\n<tool_c", "all>", '{"name": "f"', "}", "\n</tool_call", ">", "b"):
        parser.feed(chunk)
        sections.append(parser.section)
    reasoning, content, tool_call = Section
    assert sections == [reasoning] * 2 + [content] * 3 + [tool_call] * 4 + [content] * 2


def test_the_section_is_content_again_after_a_block_that_is_no_call() -> None:
    parser = TurnParser(QWEN3, SHORT, TOOLS)
    parser.feed("The <tool_call>")
    assert parser.section is Section.TOOL_CALL
    assert joined(parser.feed(" tag")) == [ContentDelta(" <tool_call> tag")]
    assert parser.section is Section.CONTENT


def test_blocks_that_are_no_calls_take_no_index() -> None:
    events, _ = run(QWEN3, [f"<tool_call>[]</tool_call>{CALL}"], "", TOOLS)
    assert events[0] == ContentDelta("<tool_call>")
    assert ToolCallStart(0, "f") in events
    assert ToolCallEnd(0) in events


def test_a_close_marker_may_be_missing() -> None:
    body = CALL.removesuffix("\n</tool_call>")
    assert parse(QWEN3, body, "", TOOLS) == Turn(calls=(F,))
    assert parse(QWEN3, f"{body}\n{CALL}", "", TOOLS) == Turn(calls=(F, F))
    assert parse(QWEN3, f"{body}\n</tool_ca", "", TOOLS) == Turn(calls=(F,))
    assert parse(QWEN3, f"{body}\nDone.", "", TOOLS) == Turn("", "Done.", (F,))


def test_a_long_text_full_of_markers_that_are_no_calls_is_content() -> None:
    text = "<tool_call> x </tool_call>\n" * 1000
    assert parse(QWEN3, text, "", TOOLS) == Turn(content=text)


@needs("qwen3")
def test_a_turn_of_qwen3s_template_is_parsed_back() -> None:
    calls = [{"type": "function", "function": {"name": "f", "arguments": {"a": "é\n</tool_call>"}}}] * 2
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "reasoning_content": "Let me\n\nsee.", "content": "    One\n\nmoment.", "tool_calls": calls},
    ]
    text = AutoTokenizer.from_pretrained(folder("qwen3")).apply_chat_template(messages, tokenize=False)
    turn = parse(QWEN3, text.split("<|im_start|>assistant\n")[1].removesuffix("<|im_end|>\n"), "", TOOLS)
    assert (turn.reasoning, turn.content) == ("Let me\n\nsee.", "    One\n\nmoment.")
    assert [json.loads(call.arguments) for call in turn.calls] == [{"a": "é\n</tool_call>"}] * 2


STRICT = QWEN3.model_copy(update={"drops_stray_markers": True})


@pytest.mark.parametrize(
    ("text", "tools", "content"),
    [
        ("Four.</think> It is.", [], "Four. It is."),
        ("Four. <think>\nIt is.", [], "Four. \nIt is."),
        ("<tool_call>Four.</tool_call>", [], "Four."),
        ("Four.</tool_call>", TOOLS, "Four."),
        ("Four. </think>\n", TOOLS, "Four. \n"),
        ("<tool_call>\nFour.", TOOLS, "\nFour."),
        ('<tool_call>\n{"na', TOOLS, '\n{"na'),
        ("a < b </ c", [], "a < b </ c"),
    ],
)
def test_a_stray_marker_is_left_out_where_the_profile_wants_that(
    text: str, tools: list[dict[str, object]], content: str
) -> None:
    assert parse(STRICT, text, SHORT, tools) == Turn("", content)
    assert parse(QWEN3, text, SHORT, tools) == Turn("", text)


def test_a_call_is_read_where_stray_markers_are_left_out() -> None:
    assert parse(STRICT, f"Hm.</think>So:\n{CALL}</think>", LONG, TOOLS) == Turn("Hm.", "So:", (F,))
