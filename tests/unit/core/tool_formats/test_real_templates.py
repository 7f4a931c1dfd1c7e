"""Chat templates of real checkpoints, as TRL ships them: what is found from them, and what they make of earlier calls."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.parsing_turns import as_turn, function_tool, run
from support.tiny import make_tokenizer

from autotool_core import tool_formats
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer

SPEC = find_spec("trl")
FOLDER = Path(SPEC.submodule_search_locations[0]) / "chat_templates" if SPEC and SPEC.submodule_search_locations else None
pytestmark = pytest.mark.skipif(FOLDER is None, reason="TRL is not installed")


def template_of(name: str) -> str:
    assert FOLDER is not None
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def profile_of(name: str) -> Profile:
    return Profile(name="p", think=None, tool_format=tool_formats.recognise(template_of(name)))


def renderer(name: str) -> PromptRenderer:
    profile = profile_of(name)
    return PromptRenderer(make_tokenizer(template_of(name), profile.markers), profile)


def conversation(calls: int) -> list[dict[str, Any]]:
    numbers = range(1, calls + 1)
    functions = [{"name": f"tool_{n}", "arguments": json.dumps({"n": n})} for n in numbers]
    made = [{"id": f"c{n}", "type": "function", "function": function} for n, function in zip(numbers, functions, strict=True)]
    results = [{"role": "tool", "tool_call_id": f"c{n}", "content": f"result-{n}"} for n in numbers]
    return [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": made}, *results]


@pytest.mark.parametrize(
    "name", ["deepseek_r1_distill", "deepseekv3", "llama3_1", "llama3_2", "qwen2_5", "qwen3", "qwen3_5_nothink", "qwen3_6"]
)
def test_a_call_and_its_result_are_in_the_prompt(name: str) -> None:
    found, messages = renderer(name), conversation(1)
    assert all(found.template.shows(text, messages) for text in ("tool_1", "result-1"))
    assert found.render(messages, (), Mode.SHORT)


@pytest.mark.parametrize("name", ["gemma4", "gemma4_v3", "gemma4_v5", "lfm2_v2", "lfm2_2_5", "lfm2_2_5_vl", "diffusion_gemma"])
def test_earlier_calls_are_parsed_back_from_the_prompt(name: str) -> None:
    arguments = {"s": 'it\'s "a"\n', "i": 1, "b": False, "o": {"k": [True, "v"]}}
    functions = [{"name": "f", "arguments": json.dumps(arguments)}, {"name": "g", "arguments": "{}"}]
    calls = [{"id": f"c{n}", "type": "function", "function": function} for n, function in enumerate(functions)]
    messages = [{"role": "user", "content": "go on"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    tools, profile = [function_tool("f"), function_tool("g")], profile_of(name)
    text = make_tokenizer(markers=profile.markers).decode(renderer(name).render(messages, tools, Mode.SHORT))
    turn = as_turn(run(profile, [text.split("go on")[1]], "", tools)[0])
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == [("f", arguments), ("g", {})]


@pytest.mark.parametrize(("name", "takes_several"), [("llama3_1", False), ("llama3_2", False), ("qwen3", True)])
def test_some_templates_refuse_a_turn_of_several_calls(name: str, takes_several: bool) -> None:
    assert renderer(name).template.shows("result-2", conversation(2)) is takes_several
