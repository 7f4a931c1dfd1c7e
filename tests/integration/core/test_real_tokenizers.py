"""Families' real tokenizers with real chat templates: the modes, the markers, the calls in prompts and the calls in answers."""

import json
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.families import FAMILIES, chat_template
from support.parsing_turns import as_turn, function_tool, run
from support.real_tokenizers import folder, needs
from transformers.integrations.mistral.tokenizer import convert_tekken_tokenizer

from autotool_core import tool_formats
from autotool_core.chat_template import ChatTemplate
from autotool_core.detokenizer import Detokenizer
from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_core.recognition import recognise
from autotool_server.engines.checkpoint import load_tokenizer

SPEC = find_spec("mistral_common")
TEKKEN = (
    Path(SPEC.submodule_search_locations[0]) / "data" / "tekken_240911.json"
    if SPEC and SPEC.submodule_search_locations
    else None
)
LONG, SHORT, AUTO = Mode.LONG, Mode.SHORT, Mode.AUTO


@dataclass(frozen=True)
class Real:
    """A real tokenizer, and the chat template that it is used with: its own, or that of one of `support.families`."""

    name: str
    tokenizer: str
    family: str | None
    tool_format: str | None
    """None if the template has no calls that the server reads."""
    modes: frozenset[Mode]
    single: int = 0
    """How many of the format's markers are one token."""

    def __str__(self) -> str:
        return self.name


REAL = (
    Real("deepseek-v3", "deepseek_v3", None, "deepseek_v3", frozenset({SHORT}), 5),
    Real("deepseek-r1", "deepseek_v3", "deepseek-v3", "deepseek_v3", frozenset({LONG}), 5),
    Real("gemma-3", "gemma3", None, None, frozenset({SHORT})),
    Real("gpt-oss", "gptoss", "gpt-oss", "gpt_oss", frozenset({LONG, SHORT}), 7),
    # The package leaves out the name of `<|python_tag|>`, and its own template has no tools.
    Real("llama-3.1", "llama3_1", "llama-3.1", "llama3_json", frozenset({SHORT})),
    Real("qwen3", "qwen3", None, "hermes", frozenset({LONG, SHORT, AUTO}), 2),
    Real("qwen3-2507", "qwen3", "qwen3-moe", "hermes", frozenset({SHORT}), 2),
    Real("mistral", "mistral", None, "mistral_list", frozenset({SHORT}), 1),
)
PROPERTIES = {"city": {"type": "string"}, "days": {"type": "integer"}, "at": {"type": "object"}}
TOOLS = [function_tool("get_weather", PROPERTIES), function_tool("f", PROPERTIES)]
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_weather", {"city": "Zürich  \n日本 😀 <b>", "days": 12345, "at": {"k": [None, True, -1.5]}}),
    ("f", {"city": ""}),
]
TEXT = "Hello  world, it's 12345 naïve\n\n 日本語\t😀 <a>"


@cache
def tokenizer_of(name: str) -> Any:
    if name != "mistral":
        return load_tokenizer(str(folder(name)))
    if TEKKEN is None:
        pytest.skip("mistral-common is not installed")
    return convert_tekken_tokenizer(str(TEKKEN))


def build(real: Real) -> tuple[Any, Profile, PromptRenderer]:
    """Return the tokenizer, the profile that is recognised, and the renderer."""
    tokenizer = copy(tokenizer_of(real.tokenizer))
    if real.family:
        tokenizer.chat_template = chat_template(next(family for family in FAMILIES if family.name == real.family))
    profile = recognise(tokenizer).profile
    return tokenizer, profile, PromptRenderer(tokenizer, profile)


def served(renderer: PromptRenderer) -> list[Mode]:
    return [mode for mode in (SHORT, LONG, AUTO) if mode not in renderer.refusals]


def calls_in(profile: Profile, pieces: list[str]) -> list[tuple[str, Any]]:
    """Return the calls in the pieces of a text that holds nothing else."""
    turn = as_turn(run(profile.model_copy(update={"think": None}), pieces, "", TOOLS)[0])
    assert turn.content == ""
    return [(call.name, json.loads(call.arguments)) for call in turn.calls]


def cases(*, with_calls: bool = False) -> list[Any]:
    chosen = (real for real in REAL if not with_calls or real.tool_format in tool_formats.names())
    return [
        pytest.param(real, id=real.name, marks=() if real.tokenizer == "mistral" else needs(real.tokenizer)) for real in chosen
    ]


def conversation(calls: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    functions = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls]
    sent = [{"id": f"c{number}", "type": "function", "function": function} for number, function in enumerate(functions)]
    results = [{"role": "tool", "tool_call_id": call["id"], "name": "f", "content": f"result {call['id']}"} for call in sent]
    return [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": sent}, *results]


@pytest.mark.parametrize("real", cases())
def test_modes(real: Real) -> None:
    tokenizer, profile, renderer = build(real)
    assert real.modes <= {*served(renderer)}
    assert (AUTO in served(renderer)) == (renderer.decision_tokens is not None)
    for mode in served(renderer):
        prompt = renderer.render([{"role": "user", "content": TEXT}], (), mode)
        assert TEXT in tokenizer.decode(prompt)
        assert tokenizer.decode(prompt).endswith(profile.prefix(mode))
    for mode in renderer.refusals:
        with pytest.raises(InvalidRequestError, match=f"mode={mode} cannot be served"):
            renderer.render([{"role": "user", "content": "?"}], (), mode)


@pytest.mark.parametrize("real", cases(with_calls=True))
def test_calls_are_parsed_from_the_tokens_of_an_answer(real: Real) -> None:
    tokenizer, profile, renderer = build(real)
    assert profile.tool_format.name == real.tool_format
    single = [marker for marker in profile.tool_format.markers if len(renderer.ids(marker)) == 1]
    assert len(single) == real.single
    tokens = renderer.ids(profile.tool_format.render_calls(CALLS))
    detokenizer = Detokenizer(
        tokenizer, renderer.render([{"role": "user", "content": "?"}], (), served(renderer)[0]), renderer.marker_ids
    )
    pieces = [detokenizer.push([token]) for token in tokens]
    assert calls_in(profile, [*pieces, detokenizer.finish()]) == CALLS


@pytest.mark.parametrize("real", cases(with_calls=True))
def test_earlier_calls_and_results_are_in_the_prompt(real: Real) -> None:
    tokenizer, profile, renderer = build(real)
    several = ChatTemplate(tokenizer, profile.tool_format).shows('"city": ""', conversation(CALLS))
    assert several is (real.name not in {"llama-3.1", "gpt-oss"})
    calls = CALLS if several else CALLS[:1]
    messages = conversation(calls)
    mode = served(renderer)[0]
    prompt = tokenizer.decode(renderer.render(messages, TOOLS, mode))
    before = tokenizer.decode(renderer.render(messages[:1], TOOLS, mode, generation_prompt=False))
    assert prompt.startswith(before)
    assert all(f"result {call['id']}" in prompt for call in messages[1]["tool_calls"])
    turn = as_turn(run(profile.model_copy(update={"think": None}), [prompt[len(before) :]], "", TOOLS)[0])
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == calls


def test_mistrals_prompt_is_that_of_mistral_common() -> None:
    common = pytest.importorskip("mistral_common.tokens.tokenizers.mistral")
    requests = pytest.importorskip("mistral_common.protocol.instruct.request")
    _, _, renderer = build(next(real for real in REAL if real.tokenizer == "mistral"))
    messages = conversation(CALLS)
    # It writes these keys of a function in this order, and the ones that are missing.
    described: Any = {"name": "f", "description": "Look it up.", "parameters": {"type": "object", "properties": PROPERTIES}}
    tools = [{"type": "function", "function": described}]
    prompt = renderer.render(messages, tools, SHORT)
    for number, (call, result) in enumerate(zip(messages[1]["tool_calls"], messages[2:], strict=True)):
        call["id"] = result["tool_call_id"] = f"{number:09}"
    request = requests.ChatCompletionRequest.from_openai(messages=messages, tools=tools)
    assert prompt == common.MistralTokenizer.from_file(str(TEKKEN)).encode_chat_completion(request).tokens
