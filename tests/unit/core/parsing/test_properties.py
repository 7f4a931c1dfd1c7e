"""What must hold for every text in every chunking."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parsing_turns import Turn, as_turn, chunked, function_tool, joined, run

from autotool_core import tool_formats
from autotool_core.modes import Mode
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import BUILTIN, Profile

TOOLS = [function_tool("f", {"a": {"type": "string"}, "b": {"type": "integer"}})]
MARKERS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<function=", "</function>", "<parameter=", "</parameter>")
FRAGMENTS = (
    *MARKERS,
    *(marker[:4] for marker in MARKERS),
    *("<", ">", "</", "\n", "\n\n", " ", "\t", "x", "é", "f>", "a>", "<function=f>", "<parameter=a>", "<parameter=b>"),
    *("{", "}", "[", "]", ":", ",", '"', "\\", "1", "null", '"name"', '"f"', '"arguments"', '"parameters"', '{"a": "}"}'),
    *(
        '"{\\"a\\": 1}"',
        '{"name": "f", "arguments": {"a": 1}}',
        '{"name": "f", "arguments": ',
        '{"arguments": {}, "name": "f"}',
    ),
    *('<tool_call>\n{"name": "f"', "<function=f>\n<parameter=a>\n1\n</parameter>\n", '{"name":"f"}\n</tool_call>'),
)
BROKEN = (
    *(
        "</param>",
        "</parameter",
        "</a>",
        "</func>",
        "</function",
        "</f>\n",
        "</tool_call",
        "<parameter=a>\n",
        "\n<parameter=b>",
    ),
    *("NaN", "True", ",}", ",]", "\x01", "\\d", "\\", "'", '{"a": [1, 2, ]}', '{"name": "f", "arguments": {"a": "'),
)
FRAGMENTS = (*FRAGMENTS, *BROKEN)
built = st.lists(st.sampled_from(FRAGMENTS), max_size=15).map("".join)
texts = st.one_of(st.text(), built, st.tuples(built, st.text(max_size=5), built).map("".join))
STRICT = BUILTIN["qwen3"].model_copy(update={"drops_stray_markers": True})
profiles = st.sampled_from([*BUILTIN.values(), STRICT])
# A machine under load must not fail these.
untimed = settings(deadline=None)
toolsets = st.sampled_from([[], TOOLS])


@st.composite
def prefixes(draw: st.DrawFn, profile: Profile) -> str:
    return draw(st.sampled_from(["", *(profile.prefix(mode) for mode in Mode)]))


@untimed
@given(chunked(texts), profiles, toolsets, st.data())
def test_chunking_changes_nothing(
    chunks: list[str], profile: Profile, tools: list[dict[str, Any]], data: st.DataObject
) -> None:
    prefix = data.draw(prefixes(profile))
    events, parser = run(profile, chunks, prefix, tools)
    whole, whole_parser = run(profile, ["".join(chunks)], prefix, tools)
    assert joined(events) == joined(whole)
    assert parser.section is whole_parser.section


@untimed
@given(chunked(texts), st.sampled_from([BUILTIN["plain"], BUILTIN["qwen3-coder"]]), toolsets)
def test_without_think_block_and_call_the_content_is_the_text(
    chunks: list[str], profile: Profile, tools: list[dict[str, Any]]
) -> None:
    turn = as_turn(run(profile, chunks, "", tools)[0])
    if not turn.calls:
        assert turn == Turn(content="".join(chunks))


@untimed
@given(chunked(st.text().filter(lambda text: not any(marker in text for marker in MARKERS))), profiles, toolsets)
def test_texts_without_markers_are_content(chunks: list[str], profile: Profile, tools: list[dict[str, Any]]) -> None:
    assert as_turn(run(profile, chunks, "", tools)[0]) == Turn(content="".join(chunks))


@untimed
@given(chunked(texts), toolsets)
def test_an_injected_and_a_decoded_open_marker_give_the_same_turn(chunks: list[str], tools: list[dict[str, Any]]) -> None:
    """The same turn, whether the open marker was injected or decoded."""
    profile = BUILTIN["qwen3"]
    injected, _ = run(profile, chunks, "<think>\n", tools)
    decoded, _ = run(profile, ["<think>\n", *chunks], "", tools)
    assert injected == decoded


def read_strictly(text: str) -> Any:
    """Parse JSON; what JSON does not have fails the test."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@untimed
@given(chunked(texts), profiles)
def test_the_arguments_of_a_complete_call_are_a_json_object(chunks: list[str], profile: Profile) -> None:
    for call in as_turn(run(profile, chunks, "", TOOLS)[0]).calls:
        if call.complete:
            assert isinstance(read_strictly(call.arguments), dict)


@untimed
@given(built, profiles, toolsets, st.data())
def test_a_cut_turn_is_the_beginning_of_the_whole_one(
    text: str, profile: Profile, tools: list[dict[str, Any]], data: st.DataObject
) -> None:
    parser = TurnParser(profile, "", tools)
    before = parser.feed(text[: data.draw(st.integers(0, len(text)))])
    cut, whole = as_turn(before), as_turn(run(profile, [text], "", tools)[0])
    assert whole.reasoning.startswith(cut.reasoning)
    assert whole.content.startswith(cut.content)
    for call, full in zip(cut.calls, whole.calls, strict=False):
        assert (call.name, full.arguments[: len(call.arguments)]) == (full.name, call.arguments)
        assert full == call or not call.complete


@untimed
@given(built, profiles)
def test_no_text_is_shown_twice_or_made_up(text: str, profile: Profile) -> None:
    turn = as_turn(run(profile, [text], "", TOOLS)[0])
    rest = iter(text)
    assert all(character in rest for character in turn.reasoning + turn.content)


pieces = st.one_of(st.text(max_size=8), st.sampled_from(["<", "</", "<tool", "\n", "\n\n", " ", "{}", "1", "null"]))
running_text = st.lists(pieces, max_size=5).map("".join)
reasonings = (
    st.one_of(running_text, st.sampled_from(["<tool_call>\n{}\n</tool_call>", "a <think> b"]))
    .map(lambda text: text.strip("\n"))
    .filter(lambda text: "</think>" not in f"{text}\n</think>"[:-1])
)
contents = running_text.map(lambda text: text.lstrip("\n").rstrip()).filter(lambda text: not any(m in text for m in MARKERS))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.sampled_from(MARKERS))
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,10}", fullmatch=True)


def hermes(name: str, arguments: dict[str, Any]) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"


def hermes_reversed(name: str, arguments: dict[str, Any]) -> str:
    return f"<tool_call>{json.dumps({'parameters': json.dumps(arguments), 'name': name})}</tool_call>"


def qwen3_coder(name: str, arguments: dict[str, Any]) -> str:
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"


hermes_calls = st.tuples(names, st.dictionaries(st.text(), json_values, max_size=3))
xml_text = running_text.filter(lambda text: "</parameter>" not in f"{text}\n</parameter>"[:-1])
coder_calls = st.tuples(st.just("f"), st.fixed_dictionaries({}, optional={"a": xml_text, "b": st.integers()}))


def render(reasoning: str, content: str, calls: list[str]) -> str:
    return "\n".join([f"<think>\n{reasoning}\n</think>\n\n{content}", *calls])


@pytest.mark.parametrize("write", [hermes, hermes_reversed])
@untimed
@given(reasonings, contents, st.lists(hermes_calls, max_size=3), st.data())
def test_a_rendered_turn_is_parsed_back(
    write: Any, reasoning: str, content: str, calls: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    text = render(reasoning, content, [write(*call) for call in calls])
    turn = as_turn(run(BUILTIN["qwen3"], data.draw(chunked(st.just(text))), "", TOOLS)[0])
    assert (turn.reasoning, turn.content) == (reasoning, content)
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == calls
    assert all(call.complete for call in turn.calls)


@untimed
@given(reasonings, contents, st.lists(coder_calls, max_size=3), st.data())
def test_a_turn_rendered_as_xml_is_parsed_back(
    reasoning: str, content: str, calls: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    profile = Profile(name="thinking-coder", tool_format=tool_formats.get("qwen3_coder"))
    text = render(reasoning, content, [qwen3_coder(*call) for call in calls])
    turn = as_turn(run(profile, data.draw(chunked(st.just(text))), "", TOOLS)[0])
    assert (turn.reasoning, turn.content) == (reasoning, content)
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == calls
    assert all(call.complete for call in turn.calls)


LINE_ENDS = (*(f"\n</{name}" for name in ("parameter>", "param>", "parameter", "parameters>", "parameter=x>", "{key}>")), "")
lines = st.text(st.characters(exclude_characters="<>\n", exclude_categories=["Cs"]), min_size=1, max_size=8)
parameters = st.tuples(
    st.sampled_from("abcd"), st.lists(lines, min_size=1, max_size=3).map("\n".join), st.sampled_from(LINE_ENDS)
)
function_ends = st.sampled_from(["\n</function>\n</tool_call>", "\n</tool_call>\n<tool_call>\n<function=g>\n</function>"])
LETTERS = [function_tool("f", {name: {"type": "string"} for name in "abcd"})]


@untimed
@given(st.lists(parameters, min_size=1, max_size=5), function_ends, st.data())
def test_wrong_and_missing_end_tags_change_no_argument(
    written: list[tuple[str, str, str]], end: str, data: st.DataObject
) -> None:
    tags = [f"<parameter={key}>\n{value}{tag.format(key=key)}" for key, value, tag in written]
    text = "\n".join(["<tool_call>\n<function=f>", *tags]) + end
    turn = as_turn(run(BUILTIN["qwen3-coder"], data.draw(chunked(st.just(text))), "", LETTERS)[0])
    first, expected = turn.calls[0], dict[str, str]()
    for key, value, _ in written:
        expected.setdefault(key, value)
    pairs = json.loads(first.arguments, object_pairs_hook=list)
    assert (pairs, first.complete) == ([*expected.items()], True)
    assert (turn.content, len(turn.calls)) == ("", 2 if "=g>" in end else 1)


@st.composite
def miswritten(draw: st.DrawFn, value: Any) -> str:
    """Write a value as JSON with the mistakes that models make."""
    comma = draw(st.sampled_from(["", ",", " , "]))
    if isinstance(value, dict):
        members = [f"{draw(miswritten(key))}: {draw(miswritten(inner))}" for key, inner in value.items()]
        return f"{{{', '.join(members)}{comma if members else ''}}}"
    if isinstance(value, list):
        return f"[{', '.join([draw(miswritten(inner)) for inner in value])}{comma if value else ''}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return draw(st.sampled_from([json.dumps(value), repr(value)]))


python_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@untimed
@given(st.dictionaries(st.text(), python_values, max_size=3), st.data())
def test_miswritten_json_is_read_as_it_is_meant(arguments: dict[str, Any], data: st.DataObject) -> None:
    text = f'<tool_call>{{"name": "f", "arguments": {data.draw(miswritten(arguments))}}}</tool_call>'
    turn = as_turn(run(BUILTIN["qwen3"], data.draw(chunked(st.just(text))), "", TOOLS)[0])
    assert [(json.loads(call.arguments), call.complete) for call in turn.calls] == [(arguments, True)]
