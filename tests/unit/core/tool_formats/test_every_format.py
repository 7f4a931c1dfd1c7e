"""What holds for the calls of every format: they are parsed back in any chunking, nothing of a text is lost, grammars hold."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.grammars import accepts
from support.parsing_turns import Turn, as_turn, chunked, function_tool, joined, parse, run
from xgrammar.builtin_structural_tag import get_model_structural_tag

from autotool_core import tool_formats
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.profile import Profile

FORMATS = tool_formats.names()
PROPERTIES = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "b": {"type": "boolean"},
    "o": {"type": "object"},
    "l": {"type": "array", "items": {"type": "number"}},
}
TOOLS = [function_tool("get_it", PROPERTIES), function_tool("f.g-2", PROPERTIES)]
XGRAMMAR_NAMES = {
    "glm45": "glm_4_7",
    "kimi_k2": "kimi",
    "deepseek_v31": "deepseek_v3_1",
    "deepseek_v3": "deepseek_r1",
    "deepseek_v32": "deepseek_v3_2",
    "minimax_m2": "minimax",
}
"""The names of xgrammar's own grammars of formats: independent descriptions of what the models write."""
XGRAMMAR_PREFIXES = {"minimax_m2": "\n</think>\n\n\n\n\n", "deepseek_v32": "\n\n"}
"""What xgrammar's grammar of an answer without reasoning has before the calls."""
# A machine under load must not fail these.
untimed = settings(deadline=None)
# Formats divide values by markers, so a value that holds one is a case of its own.
plain = st.text(st.characters(exclude_characters="<>[]|", exclude_categories=["Cs"]), max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(plain, inner)
)
arguments = st.fixed_dictionaries(
    {},
    optional={
        "s": plain,
        "i": st.integers(),
        "b": st.booleans(),
        "o": st.dictionaries(plain, json_values, max_size=2),
        "l": st.lists(st.integers(), max_size=3),
    },
)
calls = st.lists(st.tuples(st.sampled_from(["get_it", "f.g-2"]), arguments), min_size=1, max_size=3)
contents = plain.map(lambda text: f"Look: {text}".rstrip())


def profile_of(name: str, **changes: Any) -> Profile:
    return Profile(name="any", tool_format=tool_formats.get(name), **changes)


def read_calls(turn: Turn) -> list[tuple[str, Any]]:
    assert all(call.complete for call in turn.calls)
    return [(call.name, json.loads(call.arguments)) for call in turn.calls]


@pytest.mark.parametrize("name", FORMATS)
@untimed
@given(calls, contents, st.data())
def test_rendered_calls_are_parsed_back(name: str, calls: list[tuple[str, Any]], content: str, data: st.DataObject) -> None:
    text = f"{content}\n{tool_formats.get(name).render_calls(calls)}"
    events, _ = run(profile_of(name), data.draw(chunked(st.just(text))), "", TOOLS)
    turn = as_turn(events)
    assert turn.content == content
    assert read_calls(turn) == calls
    assert joined(events) == joined(run(profile_of(name), [text], "", TOOLS)[0])


def fragments(name: str) -> st.SearchStrategy[str]:
    """Texts of the format's markers, pieces of them, pieces of calls, and whitespace."""
    tool_format = tool_formats.get(name)
    texts = (*tool_format.markers, *tool_format.openers, tool_format.joint, *tool_format.section)
    call = tool_format.render_calls([("get_it", {"s": "x"}), ("f.g-2", {"i": 1})])
    cuts = [call[start : start + size] for start in range(0, len(call), 7) for size in (5, 12, 40)]
    pieces = st.sampled_from([*texts, *(text[:4] for text in texts), *cuts, "\n", " ", "x", "{", "}", '"', "get_it"])
    return st.lists(pieces, max_size=12).map("".join)


@pytest.mark.parametrize("name", FORMATS)
@untimed
@given(st.data())
def test_chunking_changes_nothing_and_what_is_no_call_is_content(name: str, data: st.DataObject) -> None:
    chunks = data.draw(chunked(fragments(name)))
    text = "".join(chunks)
    events, parser = run(profile_of(name, think=None), chunks, "", TOOLS)
    whole, whole_parser = run(profile_of(name, think=None), [text], "", TOOLS)
    assert joined(events) == joined(whole)
    assert parser.section is whole_parser.section
    turn = as_turn(events)
    if not turn.calls and not tool_formats.get(name).headers:
        assert turn == Turn(content=text)


@pytest.mark.parametrize("name", FORMATS)
def test_a_turn_cut_anywhere_has_whole_calls_or_calls_without_end(name: str) -> None:
    calls: list[tuple[str, Any]] = [("get_it", {"s": "x y", "i": 1}), ("f.g-2", {"o": {"k": ["a"]}})]
    text = tool_formats.get(name).render_calls(calls)
    for end in range(len(text)):
        turn = as_turn(run(profile_of(name), [text[:end]], "", TOOLS)[0])
        for call, (tool, values) in zip(turn.calls, calls, strict=False):
            assert call.name == tool
            assert not call.complete or json.loads(call.arguments) == values


@pytest.mark.parametrize("name", FORMATS)
def test_half_of_a_surrogate_pair_is_no_character(name: str) -> None:
    """Strict readers of JSON refuse one, and a prompt that holds one cannot be tokenised."""
    written = tool_formats.get(name).render_calls([("get_it", {"s": "x", "o": {"k": "HERE"}})])
    text = written.replace("HERE", r"a\ud83d b\ude00\ud83d\u0041\uD83D\uDE00\\ud83d")
    [(_, arguments)] = read_calls(parse(profile_of(name), text, "", TOOLS))
    assert json.dumps(arguments, ensure_ascii=False).encode()
    assert "gemma" in name or arguments["o"] == {"k": "a\ufffd b\ufffd\ufffdA😀\\ud83d"}


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def strict_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, "strict": True}}


@pytest.mark.parametrize("name", FORMATS)
def test_the_grammar_holds_calls_to_their_schemas(name: str) -> None:
    tool_format = tool_formats.get(name)
    tools = [strict_tool("f"), strict_tool("g")]
    one, two = (tool_format.render_calls([("f", {"a": 1}), ("g", {"a": -2})][:count]) for count in (1, 2))
    required = structural_tag(AnswerShape(tools, "required"), tool_format)
    assert accepts(required, one)
    assert accepts(required, two)
    for call in (("h", {"a": 1}), ("f", {"a": "one"}), ("f", {"b": 1}), ("f", {})):
        assert not accepts(required, tool_format.render_calls([call]))
    assert not accepts(required, "Hello")
    free = structural_tag(AnswerShape(tools), tool_format)
    assert accepts(free, f"Let me see.\n{two}")
    assert accepts(free, "Hello")
    assert not accepts(free, tool_format.render_calls([("f", {"a": "one"})]))
    single = structural_tag(AnswerShape(tools, "required", parallel=False), tool_format)
    assert accepts(single, one)
    assert not accepts(single, two)


@pytest.mark.parametrize("name", FORMATS)
def test_without_calls_no_call_can_be_written(name: str) -> None:
    tool_format = tool_formats.get(name)
    none = structural_tag(AnswerShape([strict_tool("f")], "none"), tool_format)
    header = "<|start|>assistant<|channel|>final<|message|>" if name == "gpt_oss" else ""
    assert accepts(none, f"{header}The function f is not called.")
    assert not accepts(none, tool_format.render_calls([("f", {"a": 1})]))


@pytest.mark.parametrize("name", XGRAMMAR_NAMES)
def test_xgrammars_own_grammar_accepts_what_is_rendered(name: str) -> None:
    tools: Any = [strict_tool("f"), strict_tool("g")]
    tag = get_model_structural_tag(XGRAMMAR_NAMES[name], tools, "required", "disabled").model_dump_json()
    text = tool_formats.get(name).render_calls([("f", {"a": 1}), ("g", {"a": 2})])
    assert accepts(tag, XGRAMMAR_PREFIXES.get(name, "") + text)
