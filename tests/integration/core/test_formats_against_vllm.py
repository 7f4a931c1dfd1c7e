"""The calls and the reasoning of generated turns, as vLLM's own parsers read them."""

import importlib
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parsing_turns import Turn, as_turn, chunked, function_tool, run
from support.tiny import make_tokenizer

from autotool_core import tool_formats
from autotool_core.profile import Profile, ThinkFormat

pytest.importorskip("vllm", reason="vLLM is not installed")
VLLM_NAMES = {
    "glm45": ["glm45"],
    "llama3_json": ["llama3_json"],
    "kimi_k2": ["kimi_k2"],
    "deepseek_v31": ["deepseek_v31"],
    "deepseek_v3": ["deepseek_v3"],
    "minimax_m2": ["minimax_m2"],
    "pythonic": ["pythonic", "llama4_pythonic"],
    "lfm2": ["lfm2"],
    "deepseek_v32": ["deepseek_v32"],
    "granite3": ["granite"],
    "function_gemma": ["functiongemma"],
    "gemma4": ["gemma4"],
    "mistral": ["mistral"],
    "mistral_list": ["mistral"],
}
"""The names of vLLM's parsers for each format."""
READS_NO_CONTENT = {"pythonic", "llama4_pythonic"}
"""The parsers of vLLM that find no call behind text: ours does, since models do write one before calls."""
DROPS_CONTENT = {"llama3_json"}
"""The parsers of vLLM that leave out the text before calls, which ours keeps: it is what the model said to the user."""
PAIRS = [(name, parser) for name, parsers in VLLM_NAMES.items() for parser in parsers]
PROPERTIES = {"s": {"type": "string"}, "i": {"type": "integer"}, "b": {"type": "boolean"}, "o": {"type": "object"}, "u": {}}
TOOLS = [function_tool("get_it", PROPERTIES), function_tool("set_it", PROPERTIES)]
# vLLM reads some texts by other rules, and none of these is about the form of calls: it drops whitespace at the ends of
# strings of some formats, and text behind calls.
words = st.text(st.characters(categories=["Ll", "Lu", "Nd"]), max_size=8).map(lambda text: f"v{text}")
arguments = st.fixed_dictionaries(
    {}, optional={"s": words, "i": st.integers(), "b": st.booleans(), "o": st.dictionaries(words, words | st.integers())}
)
calls = st.lists(st.tuples(st.sampled_from(["get_it", "set_it"]), arguments), max_size=3)


def as_vllm_reads(parser: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a call's arguments as vLLM has them, where it takes another value than the model wrote.

    Its parser of FunctionGemma finds only strings, those in objects too, and its parser of Gemma 4 makes strings of the numbers
    in objects. Ours takes them as they are written.
    """
    inner = arguments.get("o", {})
    if parser == "functiongemma":
        return {key: value for key, value in (*inner.items(), *arguments.items()) if isinstance(value, str)}
    if parser == "gemma4" and "o" in arguments:
        return {**arguments, "o": {key: str(value) for key, value in inner.items()}}
    return arguments


@cache
def tokenizer_with(*markers: str) -> Any:
    return make_tokenizer(markers=markers)


def by_vllm(name: str, parser: str, text: str) -> tuple[str, list[tuple[str, Any]]]:
    protocol = importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol")
    manager = importlib.import_module("vllm.tool_parsers").ToolParserManager
    request = protocol.ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "?"}], tools=TOOLS)
    tokenizer = tokenizer_with("<think>", "</think>", *tool_formats.get(name).markers)
    read = manager.get_tool_parser(parser)(tokenizer, request.tools).extract_tool_calls(text, request)
    functions = [call.function for call in read.tool_calls]
    return read.content or "", [(function.name, json.loads(function.arguments)) for function in functions]


@pytest.mark.parametrize(("name", "parser"), PAIRS)
@settings(deadline=None, max_examples=40)
@given(words, calls)
def test_generated_turns_are_read_as_vllm_reads_them(name: str, parser: str, content: str, calls: Any) -> None:
    content = "" if calls and parser in READS_NO_CONTENT else content
    text = "\n".join(filter(None, [content, tool_formats.get(name).render_calls(calls) if calls else ""]))
    turn = as_turn(run(Profile(name="any", tool_format=tool_formats.get(name)), [text], "", TOOLS)[0])
    theirs, read = by_vllm(name, parser, text)
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == calls
    assert read == [(tool, as_vllm_reads(parser, arguments)) for tool, arguments in calls]
    assert turn.content == content
    assert theirs.strip() == ("" if calls and parser in DROPS_CONTENT else content)


@pytest.mark.parametrize(
    ("name", "parser", "text", "theirs", "ours"),
    [
        # A list of calls behind text, and quotes in a string: for vLLM there is no call.
        ("pythonic", "pythonic", "Look: [get_it(i=1)]", None, {"i": 1}),
        ("pythonic", "llama4_pythonic", "[get_it(s='it's')]", None, {"s": "it's"}),
        # A number in quotes: the schema says what it is, which vLLM asks for numbers of some formats alone.
        ("pythonic", "pythonic", "[get_it(i='1')]", {"i": "1"}, {"i": 1}),
        (
            "function_gemma",
            "functiongemma",
            "<start_function_call>call:get_it{s:<escape>5<escape>}<end_function_call>",
            {"s": 5},
            {"s": "5"},
        ),
        # JSON of a parameter that the schema leaves open: vLLM makes a text of it, though the model says that it is none.
        (
            "deepseek_v32",
            "deepseek_v32",
            '<｜DSML｜invoke name="get_it"><｜DSML｜parameter name="u" string="false">5</｜DSML｜parameter></｜DSML｜invoke>',
            {"u": "5"},
            {"u": 5},
        ),
        ("granite3", "granite", '<|tool_call|>[{"name": "get_it", "arguments": {"u": null}}]', {"u": "null"}, {"u": None}),
        ("granite3", "granite", '<|tool_call|>[{"name": "get_it", "arguments": {"i": 1}]', {"i": 1}, {"i": 1}),
    ],
)
def test_where_ours_differ(name: str, parser: str, text: str, theirs: dict[str, Any] | None, ours: dict[str, Any]) -> None:
    turn = as_turn(run(Profile(name="any", tool_format=tool_formats.get(name)), [text], "", TOOLS)[0])
    assert [json.loads(call.arguments) for call in turn.calls] == [ours]
    assert by_vllm(name, parser, text)[1] == ([("get_it", theirs)] if theirs is not None else [])


THINK = ("<think>", "</think>")
REASONING = {
    **dict.fromkeys(("qwen3", "deepseek_r1", "glm45", "kimi_k2", "minimax_m2", "nemotron_v3", "ernie45"), THINK),
    "seed_oss": ("<seed:think>", "</seed:think>"),
    "mistral": ("[THINK]", "[/THINK]"),
    "granite": ("Here is my thought process:", "Here is my response:"),
    "gemma4": ("<|channel>thought\n", "<channel|>"),
}
"""The markers that vLLM's parsers of reasoning know, by their names."""
texts = st.text(st.characters(categories=["Ll", "Lu", "Nd", "Po", "Sm"]), min_size=1, max_size=20)


def reasoning_by_vllm(parser: str, text: str) -> Turn:
    protocol = importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol")
    manager = importlib.import_module("vllm.reasoning").ReasoningParserManager
    request = protocol.ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "?"}])
    opening, closing = REASONING[parser]
    tokenizer = tokenizer_with(opening.removesuffix("thought\n"), closing, "[TOOL_CALLS]")
    reasoning, content = manager.get_reasoning_parser(parser)(tokenizer).extract_reasoning(text, request)
    # vLLM keeps the newlines around the markers, which are format.
    return Turn((reasoning or "").strip("\n"), (content or "").strip("\n"))


@pytest.mark.parametrize("parser", REASONING)
@settings(deadline=None, max_examples=25)
@given(texts, texts, st.sampled_from(["", "\n", "\n\n"]), st.data())
def test_generated_reasoning_is_read_as_vllm_reads_it(
    parser: str, reasoning: str, content: str, space: str, data: st.DataObject
) -> None:
    opening, closing = REASONING[parser]
    text = f"{opening}{space}{reasoning}{space}{closing}{space}{content}"
    think = ThinkFormat(open=opening.strip(), close=closing, long_prefix=opening)
    events, _ = run(Profile(name="p", think=think), data.draw(chunked(st.just(text))))
    assert as_turn(events) == reasoning_by_vllm(parser, text) == Turn(reasoning, content)
