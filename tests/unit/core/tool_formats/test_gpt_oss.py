"""gpt-oss's messages: what a turn of several channels is read as, and what earlier ones become in the prompt."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.grammars import accepts
from support.parsing_turns import Call, Turn, as_turn, chunked, function_tool, joined, run

from autotool_core import tool_formats
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.recognition import HARMONY

FORMAT = tool_formats.get("gpt_oss")
PROFILE = Profile(name="gpt-oss", think=HARMONY, tool_format=FORMAT)
TOOLS = [function_tool("f", {"a": {"type": "integer"}})]
START, END = "<|start|>assistant", "<|end|>"
ANALYSIS, FINAL, COMMENTARY = (f"<|channel|>{name}<|message|>" for name in ("analysis", "final", "commentary"))
CALL = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>'
PARTS = (START, END, ANALYSIS, FINAL, COMMENTARY, CALL, "x", " ", "\n", "<|", "{")


def read(text: str, mode: Mode | None = Mode.LONG, tools: Any = TOOLS) -> Turn:
    return as_turn(run(PROFILE, [text], PROFILE.prefix(mode) if mode else "", tools)[0])


@pytest.mark.parametrize(
    ("mode", "text", "turn"),
    [
        (Mode.LONG, f"Hm.{END}{START}{FINAL}Yes.", Turn("Hm.", "Yes.")),
        (Mode.SHORT, f"{START}{FINAL}Yes.", Turn(content="Yes.")),
        (None, f"{ANALYSIS}Hm.{END}{START}{FINAL}Yes.<|return|>", Turn("Hm.", "Yes.")),
        (None, f"{FINAL}Yes.", Turn(content="Yes.")),
        (Mode.LONG, f"Hm.{END}{START}{CALL}", Turn("Hm.", "", (Call("f", '{"a": 1}'),))),
        (
            Mode.LONG,
            f"Hm.{END}{START}{COMMENTARY}I look.{END}{START}{ANALYSIS} Now.{END}{START}{CALL}",
            Turn("Hm. Now.", "I look.", (Call("f", '{"a": 1}'),)),
        ),
    ],
)
def test_channels(mode: Mode | None, text: str, turn: Turn) -> None:
    assert read(text, mode) == turn


@pytest.mark.parametrize(
    "call",
    [
        '<|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{"a": 1}<|call|>',
        '<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{"a": 1}<|call|>',
        '<|start|>assistant to=functions.f<|channel|>analysis<|message|>{"a": 1}',
        '<|start|>assistant<|channel|>commentary to=functions.f code<|message|>{"a": 1}<|call|>',
        '<|start|>assistant<|channel|>commentary to=functions.f<|constrain|>JSON<|message|>{"a": 1}<|call|>',
        '<|start|>assistant<|channel|>commentary to=functions.f<|message|>{"a": 1}',
        '<|channel|>commentary to=functions.f json<|message|>{"a": 1}<|call|>',
    ],
)
def test_variants_of_a_call(call: str) -> None:
    assert read(f"Hm.{END}{call}") == Turn("Hm.", "", (Call("f", '{"a": 1}'),))


@pytest.mark.parametrize("head", [f"{START}{FINAL}", f"{START}{ANALYSIS}", FINAL, CALL.partition("{")[0]])
def test_a_header_that_is_cut_is_no_content(head: str) -> None:
    shown = {
        read(f"Hm.{END}{START}{FINAL}Yes.{END}{head[:length]}").content for length in range(head.index(">") + 1, len(head))
    }
    assert shown == {"Yes."}
    assert read(f"Hm.{END}{START}{FINAL}Yes <|start").content == "Yes <|start"


@pytest.mark.parametrize("kind", [" <|constrain|>json", "<|constrain|>json", " json"])
def test_an_answer_may_name_its_kind(kind: str) -> None:
    assert read(f'Hm.{END}{START}<|channel|>final{kind}<|message|>{{"a": 1}}') == Turn("Hm.", '{"a": 1}')


@pytest.mark.parametrize("head", ["<|channel|>commentary to=functions.f", " to=functions.f<|channel|>commentary"])
def test_a_strict_call_is_held_in_both_orders(head: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    tag = structural_tag(AnswerShape([tool]), FORMAT)
    assert accepts(tag, f'{START}{head} <|constrain|>json<|message|>{{"a": 1}}')
    assert not accepts(tag, f'{START}{head} <|constrain|>json<|message|>{{"a": "x"}}')


def test_without_tools_headers_are_left_out_all_the_same() -> None:
    assert read(f"Hm.{END}{START}{FINAL}Yes.<|return|>", tools=()) == Turn("Hm.", "Yes.")


@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=9), st.data())
def test_chunking_changes_nothing(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    chunks = data.draw(chunked(st.just(text)))
    assert joined(run(PROFILE, chunks, "", TOOLS)[0]) == joined(run(PROFILE, [text], "", TOOLS)[0])


def test_a_constrained_answer_stands_on_the_final_channel() -> None:
    tag = structural_tag(
        AnswerShape(schema={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}), FORMAT
    )
    assert accepts(tag, f'{START}{FINAL}{{"a": 1}}')
    assert not accepts(tag, '{"a": 1}')


def test_earlier_reasoning_has_the_templates_name() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": 1})}}
    assert FORMAT.message({"role": "assistant", "content": "Hi", "reasoning": "Hm."})["thinking"] == "Hm."
    both = FORMAT.message({"role": "assistant", "content": "I look.", "reasoning": "Hm.", "tool_calls": [call]})
    assert (both["thinking"], both["content"]) == ("Hm.\n\nI look.", "")
