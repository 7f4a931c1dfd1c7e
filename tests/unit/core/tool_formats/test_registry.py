"""The registry of tool-call formats, and a third format that is one new module and no other edit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.grammars import accepts
from support.parsing_turns import Call, Turn, as_turn, chunked, function_tool, joined, run
from support.tiny import CHAT_TEMPLATE, make_tokenizer

from autotool_core import tool_formats
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.profile import BUILTIN, Profile
from autotool_core.tool_formats.base import ToolFormat
from autotool_server.engines import profiles

BRACKETS = '''
"""Calls as `[CALL]name{"a": 1}[/CALL]`."""

import json

from autotool_core.parsing.events import ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.json_text import ValueScanner
from autotool_core.tool_formats.base import ToolFormat, json_tag


class Body:
    def __init__(self, index):
        self.started = self.complete = False
        self.index, self.name, self.scanner = index, "", ValueScanner("{")

    def feed(self, text):
        events = []
        if not self.started:
            before, brace, rest = text.partition("{")
            self.name += before
            if not brace:
                return [], None
            self.started, text = True, brace + rest
            events = [ToolCallStart(self.index, self.name)]
        end = self.scanner.scan(text, 0)
        events.append(ToolCallArguments(self.index, text[:end]))
        if end is None:
            return events, None
        self.complete = True
        return [*events, ToolCallEnd(self.index)], text[end:]


class Brackets(ToolFormat):
    def call_body(self, index, parameters, opener):
        return Body(index)

    def call_tag(self, name, parameters):
        return {"type": "tag", "begin": f"[CALL]{name}", "content": json_tag(parameters), "end": "[/CALL]"}

    def render(self, name, arguments):
        return f"[CALL]{name}{json.dumps(arguments)}[/CALL]"

    def matches(self, chat_template):
        return "[CALL]" in chat_template


FORMAT = Brackets("brackets", ("[CALL]", "[/CALL]"), ("[CALL]",), "[/CALL]", ("[CALL]",))
'''
TOOLS = [function_tool("f", {"a": {"type": "integer"}}, required=["a"])]


@pytest.fixture(scope="module")
def brackets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolFormat]:
    folder: Path = tmp_path_factory.mktemp("formats")
    (folder / "brackets.py").write_text(BRACKETS)
    tool_formats.__path__.append(str(folder))
    yield tool_formats.get("brackets")
    tool_formats.__path__.remove(str(folder))


@pytest.fixture(scope="module")
def profile(brackets: ToolFormat) -> Profile:
    return Profile(name="third", tool_format=brackets)


def test_formats_are_found_by_the_names_of_their_modules() -> None:
    assert {"hermes", "qwen3_coder"} <= {*tool_formats.names()}
    assert [tool_formats.get(name).name for name in tool_formats.names()] == [*tool_formats.names()]


@pytest.mark.parametrize("name", ["base", "yaml", "", "hermes.json", "..profile"])
def test_an_unknown_name_is_no_format(name: str) -> None:
    with pytest.raises(KeyError):
        tool_formats.get(name)


@pytest.mark.parametrize(
    ("chat_template", "name"),
    [
        (CHAT_TEMPLATE, "hermes"),
        ("<tool_call>\n<function={{ call.name }}>", "qwen3_coder"),
        ("<tool_call>{{ call.name }}\n<arg_key>{{ key }}</arg_key>", "glm45"),
        ('<|eot_id|> {"name": "{{ call.name }}", "parameters": {{ call.arguments }}', "llama3_json"),
        ("<|tool_call_begin|>{{ call.id }}<|tool_call_argument_begin|>{{ call.arguments }}", "kimi_k2"),
        ("<｜tool▁call▁begin｜>{{ call.name }}<｜tool▁sep｜>{{ call.arguments }}", "deepseek_v31"),
        ("<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{ call.name }}\n```json\n{{ call.arguments }}\n```", "deepseek_v3"),
        ('<minimax:tool_call>\n<invoke name="{{ call.name }}">', "minimax_m2"),
        ("[TOOL_CALLS]{{ call.name }}[ARGS]{{ call.arguments }}", "mistral"),
        ("[TOOL_CALLS][{{ call }}]", "mistral_list"),
        ('<|eot|> {"name": "{{ call.name }}", "parameters": {{ call.arguments }}', "llama3_json"),
        ("<|eot|> Use exact format: [func_name1(param1=value1), func_name2(...)] {{ tools }}", "pythonic"),
        ("List of tools: <|tool_list_start|>[{{ tools }}]<|tool_list_end|>", "lfm2"),
        ("<|tool_call_start|>[{{ calls }}]<|tool_call_end|>", "lfm2"),
        ('<｜DSML｜function_calls>\n<｜DSML｜invoke name="{{ call.name }}">', "deepseek_v32"),
        ("Write `<|tool_call|>` and a JSON list of the tools used. {{ tools }}", "granite3"),
        ("<start_function_call>call:{{ call.name }}{", "function_gemma"),
        ("<|tool_call>call:{{ call.name }}{", "gemma4"),
        ("{{ message.content }}", "hermes"),
        ("", "hermes"),
    ],
)
def test_a_chat_template_shows_its_format(chat_template: str, name: str) -> None:
    assert tool_formats.recognise(chat_template).name == name


@pytest.mark.parametrize("name", tool_formats.names())
def test_a_rendered_call_is_parsed_back_and_is_in_the_grammar(name: str) -> None:
    tool_format = tool_formats.get(name)
    properties = {"s": {"type": "string"}, "i": {"type": "integer"}, "b": {"type": "boolean"}, "o": {"type": "object"}}
    tools = [function_tool("f", properties)]
    arguments = {"s": "é\nx", "i": 1, "b": True, "o": {"k": [None, 1.5]}}
    text = tool_format.render_calls([("f", arguments)])
    turn = as_turn(run(Profile(name="p", tool_format=tool_format), text, "", tools)[0])
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == [("f", arguments)]
    assert accepts(structural_tag(AnswerShape(tools, "one"), tool_format), text)


@settings(deadline=None)
@given(chunked(st.just('<think>\nHm.\n</think>\n\nLook: [CALL]f{"a": 1}[/CALL]\n[CALL]f{"a": 2}[/CALL] Done. <tool_call>')))
def test_a_third_format_is_parsed_in_any_chunking(profile: Profile, chunks: list[str]) -> None:
    events, _ = run(profile, chunks, "", TOOLS)
    assert as_turn(events) == Turn("Hm.", "Look:Done. <tool_call>", (Call("f", '{"a": 1}'), Call("f", '{"a": 2}')))
    assert joined(events) == joined(run(profile, ["".join(chunks)], "", TOOLS)[0])


def test_a_third_format_has_a_grammar(brackets: ToolFormat) -> None:
    required = structural_tag(AnswerShape(TOOLS, "required"), brackets)
    assert accepts(required, f"{brackets.render('f', {'a': 1})}\n{brackets.render('f', {'a': 2})}")
    assert not accepts(required, '[CALL]f{"a": "one"}[/CALL]')
    free = structural_tag(AnswerShape(TOOLS, strict_tools=True), brackets)
    assert accepts(free, 'Look: [CALL]f{"a": 1}[/CALL]')
    assert not accepts(free, "Look: [CALL]g")


def test_a_profile_may_name_a_third_format(brackets: ToolFormat, profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "mode_profile.json"
    path.write_text('{"name": "third", "tool_format": "brackets"}')
    read = profiles.find(str(path), "unused", make_tokenizer()).profile
    assert read == profile == Profile.model_validate_json(profile.model_dump_json())
    assert read.markers == (*BUILTIN["qwen3"].markers[:2], "[CALL]", "[/CALL]")
    dumped: Any = json.loads(read.model_dump_json())
    assert dumped["tool_format"] == "brackets"
    assert tool_formats.recognise("{{ '[CALL]' }}") is brackets
