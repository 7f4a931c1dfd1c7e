"""Our parsers next to vLLM's: the same calls for turns as models should write them, and a list of where ours differ.

vLLM is given each turn as a whole, because its streams need token ids; ours reads it in pieces.
"""

import importlib.util
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parsing_turns import Call, Turn, as_turn, chunked, function_tool, parse, run
from support.tiny import make_tokenizer

from autotool_core.profile import BUILTIN

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")

TOOLS = [function_tool("f", {"s": {"type": "string"}, "i": {"type": "integer"}, "o": {"type": "object"}})]
Found = tuple[str, list[tuple[str, str]]]


@pytest.fixture(scope="module")
def vllm_parse() -> Callable[[str, str], Found]:
    """Return a function of a profile's name and a text, which returns the content and the calls that vLLM reads."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser
    from vllm.tool_parsers.qwen3_engine_tool_parser import Qwen3EngineToolParser

    parsers: dict[str, Any] = {"qwen3": Hermes2ProToolParser, "qwen3-coder": Qwen3EngineToolParser}
    request = ChatCompletionRequest.model_validate(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": TOOLS}
    )
    tokenizer = make_tokenizer()

    def read(profile: str, text: str) -> Found:
        found = parsers[profile](tokenizer, request.tools).extract_tool_calls(text, request)
        return found.content or "", [(call.function.name, call.function.arguments) for call in found.tool_calls]

    return read


lines = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs", "Cc"]), max_size=20)
texts = st.lists(lines, max_size=3).map("\n".join)
objects = st.dictionaries(lines, st.integers() | st.booleans() | st.none() | lines, max_size=2)
arguments = st.fixed_dictionaries({}, optional={"s": texts, "i": st.integers(-(10**9), 10**9), "o": objects})


@pytest.mark.parametrize("name", ["qwen3", "qwen3-coder"])
@settings(deadline=None)
@given(lines.map(str.strip), st.lists(arguments, min_size=1, max_size=3), st.data())
def test_turns_as_they_should_be_written_have_the_same_calls(
    vllm_parse: Callable[[str, str], Found], name: str, content: str, calls: list[dict[str, Any]], data: st.DataObject
) -> None:
    profile = BUILTIN[name]
    text = "\n".join([content, *(profile.tool_format.render("f", call) for call in calls)])
    theirs, their_calls = vllm_parse(name, text)
    ours = as_turn(run(profile, data.draw(chunked(st.just(text))), "", TOOLS)[0])
    assert ours.content.strip() == theirs.strip()
    assert [(call.name, json.loads(call.arguments)) for call in ours.calls] == [
        (called, json.loads(written)) for called, written in their_calls
    ]
    assert [json.loads(call.arguments) for call in ours.calls] == calls


XML = "<tool_call>\n<function=f>\n<parameter=i>\n1{}\n<parameter=s>\nx{}\n</function>\n</tool_call>"
END = "\n</parameter>"


@pytest.mark.parametrize(
    ("name", "text", "theirs", "ours"),
    [
        # A wrong or lost end tag: vLLM takes it into the value, or loses the parameter.
        ("qwen3-coder", XML.format(*["\n</param>"] * 2), '{"i": "1\\n</param>"}', '{"i": 1, "s": "x"}'),
        ("qwen3-coder", XML.format(*["\n</parameter"] * 2), '{"i": "1\\n</parameter"}', '{"i": 1, "s": "x"}'),
        ("qwen3-coder", XML.format(END, ""), '{"i": 1}', '{"i": 1, "s": "x"}'),
        # Tags as text: vLLM cuts the value at them.
        ("qwen3-coder", XML.format(END, f" <parameter=i>{END}"), '{"i": "", "s": "x "}', '{"i": 1, "s": "x <parameter=i>"}'),
        ("qwen3-coder", XML.format(END, f"\n</function>{END}"), '{"i": 1}', '{"i": 1, "s": "x\\n</function>"}'),
        # No JSON: vLLM passes it on, or takes the turn for content (None).
        ("qwen3", '{"name": "f", "arguments": {"i": NaN}}', '{"i": NaN}', '{"i": "NaN"}'),
        ("qwen3", '{"name": "f", "arguments": "{\\"i\\": 1}"}', '"{\\"i\\": 1}"', '{"i": 1}'),
        ("qwen3", '{"name": "f", "arguments": {"s": "a\tb"}}', None, '{"s": "a\\tb"}'),
        ("qwen3", '{"name": "f", "arguments": {"i": True}}', None, '{"i": true}'),
        ("qwen3", '{"name": "f", "arguments": {"i": 1,}}', None, '{"i": 1}'),
        ("qwen3", '{"name": "f", "arguments": {"s": "\\d"}}', None, '{"s": "\\\\d"}'),
        ("qwen3", '{"name": "f", "arguments": {"s": "</tool_call>"}}', None, '{"s": "</tool_call>"}'),
        ("qwen3", '{"name": "f"}', None, "{}"),
    ],
)
def test_where_ours_differ(
    vllm_parse: Callable[[str, str], Found], name: str, text: str, theirs: str | None, ours: str
) -> None:
    text = text if name == "qwen3-coder" else f"<tool_call>\n{text}\n</tool_call>"
    assert vllm_parse(name, text)[1] == ([] if theirs is None else [("f", theirs)])
    assert parse(BUILTIN[name], text, "", TOOLS) == Turn(calls=(Call("f", ours),))
