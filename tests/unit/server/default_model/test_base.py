"""The chat template of the default model, and the preparation of a base."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jinja2 import TemplateError
from support.tiny import make_llama, make_tokenizer
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from autotool_core import profile
from autotool_core.modes import Mode
from autotool_server import default_model
from autotool_server.default_model import build, sources
from autotool_server.default_model.bases import BASES, DATA_FILES, MARKERS
from autotool_server.default_model.build import prepare_base
from autotool_server.engines import generation_config
from autotool_server.engines.checkpoint import configured_eos, read_tokenizer

SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
ASK = "<|im_start|>user\n2+2?<|im_end|>\n"
PROMPT = "<|im_start|>assistant\n"
QUESTION = {"role": "user", "content": "2+2?"}
ADD = {
    "type": "function",
    "function": {"name": "add", "description": "Adds <two> numbers é.", "parameters": {"type": "object"}},
}


def data(name: str) -> str:
    return BASES[default_model.NAME].data_files(None)[name].read_text()


@pytest.fixture(scope="module")
def render() -> Callable[..., str]:
    tokenizer: Any = make_tokenizer(data("chat_template.jinja"))

    def apply(*messages: dict[str, Any], prompt: bool = False, **kwargs: Any) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt, **kwargs)

    return apply


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_template_puts_the_default_system_prompt_first(render: Callable[..., str]) -> None:
    assert render(QUESTION, prompt=True) == SYSTEM + ASK + PROMPT + "<think>"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_template_takes_the_given_system_prompt(render: Callable[..., str], role: str) -> None:
    assert render({"role": role, "content": "Be brief."}, QUESTION) == "<|im_start|>system\nBe brief.<|im_end|>\n" + ASK


def test_template_renders_a_later_developer_message_as_system(render: Callable[..., str]) -> None:
    later = {"role": "developer", "content": "Be brief."}
    assert render(QUESTION, later) == SYSTEM + ASK + "<|im_start|>system\nBe brief.<|im_end|>\n"


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, "<think>"),
        ({"enable_thinking": None, "mode": None}, "<think>"),
        ({"enable_thinking": True}, "<think>\n"),
        ({"enable_thinking": False}, "<think>\n\n</think>\n\n"),
        ({"mode": "long"}, "<think>\n"),
        ({"mode": "short"}, "<think>\n\n</think>\n\n"),
        ({"mode": "auto"}, "<think>"),
        ({"mode": "auto", "enable_thinking": True}, "<think>"),
    ],
)
def test_template_opens_the_turn_in_the_mode(render: Callable[..., str], kwargs: dict[str, Any], expected: str) -> None:
    assert render(QUESTION, prompt=True, **kwargs) == SYSTEM + ASK + PROMPT + expected
    assert render(QUESTION, **kwargs) == SYSTEM + ASK


@pytest.mark.parametrize("mode", list(Mode))
def test_template_and_profile_agree_on_the_prefixes(render: Callable[..., str], mode: Mode) -> None:
    shipped = profile.Profile.model_validate_json(data("mode_profile.json"))
    assert render(QUESTION, prompt=True, mode=mode.value).endswith(PROMPT + shipped.prefix(mode))
    own = {"strict_tools": True, "drops_stray_markers": True}
    assert shipped == profile.BUILTIN["smollm2-autotool"].model_copy(update=own)


def test_template_refuses_an_unknown_mode(render: Callable[..., str]) -> None:
    with pytest.raises(TemplateError, match="'auto', 'long' or 'short'"):
        render(QUESTION, prompt=True, mode="deep")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_template_writes_reasoning_into_the_think_block(render: Callable[..., str], field: str) -> None:
    answer = {"role": "assistant", "content": "4", field: "Count."}
    assert render(QUESTION, answer) == SYSTEM + ASK + PROMPT + "<think>\nCount.\n</think>\n\n4<|im_end|>\n"


@pytest.mark.parametrize("reasoning", [{}, {"reasoning": None}, {"reasoning": "", "reasoning_content": None}])
def test_template_writes_an_empty_block_without_reasoning(render: Callable[..., str], reasoning: dict[str, Any]) -> None:
    answer = {"role": "assistant", "content": "4", **reasoning}
    assert render(QUESTION, answer) == SYSTEM + ASK + PROMPT + "<think>\n\n</think>\n\n4<|im_end|>\n"


def test_template_lists_tools_in_the_system_turn(render: Callable[..., str]) -> None:
    text = render({"role": "system", "content": "Be brief."}, QUESTION, tools=[ADD, ADD])
    assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n\n")
    assert "<tools>\nadd: Adds <two> numbers é.\nadd: Adds <two> numbers é.\n</tools>\n" in text
    assert text.endswith('<tool_call>\n{"name": <name>, "arguments": {<arguments>}}\n</tool_call><|im_end|>\n' + ASK)


def outline(render: Callable[..., str], **parameters: Any) -> str:
    """Render a tool `f` with these parameters, of which `a` is required."""
    schema = {"type": "object", "properties": parameters, "required": ["a"]}
    text = render(QUESTION, tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    return text.partition("<tools>\nf\n")[2].partition("</tools>")[0]


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ({"type": "string", "description": " An a.\n"}, "- a (string): An a."),
        ({"type": ["integer", "null"], "minimum": 1, "default": 2}, "- a (integer|null, minimum 1, default 2)"),
        ({"type": "string", "format": "date"}, '- a (string, format "date")'),
        ({"enum": ["é", 1, None]}, '- a ("é"|1|null)'),
        ({"type": "array", "items": {"type": "number"}, "maxItems": 2}, "- a (number[], maxItems 2)"),
        ({"type": "array", "items": {"enum": ["x", "y"]}}, '- a (("x"|"y")[])'),
        ({"type": "array", "items": {"type": "integer", "minimum": 1}}, "- a ((integer, minimum 1)[])"),
        ({"type": "array"}, "- a (any[])"),
        ({}, "- a (any)"),
        (True, "- a (JSON Schema): true"),
        ({"anyOf": [{"type": "string"}]}, '- a (JSON Schema): {"anyOf": [{"type": "string"}]}'),
        ({"$ref": "#/$defs/b"}, '- a (JSON Schema): {"$ref": "#/$defs/b"}'),
        ({"type": "array", "items": {"items": {}}}, '- a (JSON Schema): {"type": "array", "items": {"items": {}}}'),
        ({"type": "array", "items": {"oneOf": []}}, '- a (JSON Schema): {"type": "array", "items": {"oneOf": []}}'),
        ({"type": "array", "items": {}, "const": [1]}, '- a (JSON Schema): {"type": "array", "items": {}, "const": [1]}'),
        ({"type": ["array", "null"], "items": {"x": 1}}, '- a (JSON Schema): {"type": ["array", "null"], "items": {"x": 1}}'),
        ({"additionalProperties": {"x": 1}}, '- a (JSON Schema): {"additionalProperties": {"x": 1}}'),
        ({"additionalProperties": False, "properties": {}}, "- a (any)"),
        ({"type": "array", "items": {"type": "string", "description": "A day."}}, "- a (string[]) Each: A day."),
        ({"type": "array", "items": {"description": "B."}, "description": "Days."}, "- a (any[]): Days. Each: B."),
        ({"type": "string", "description": "One\n- b (string): two."}, "- a (string): One - b (string): two."),
    ],
)
def test_template_outlines_a_parameter(render: Callable[..., str], schema: Any, line: str) -> None:
    assert outline(render, a=schema) == line + "\n"


def test_template_indents_nested_properties_and_marks_optional_ones(render: Callable[..., str]) -> None:
    row = {"type": "object", "properties": {"items": {"type": "integer"}, "y": {"type": "string"}}, "required": ["y"]}
    rows = {"type": "array", "items": row, "description": "Rows."}
    text = outline(render, a=row, b=rows)
    inner = "  - items (optional integer)\n  - y (string)\n"
    assert text == f"- a (object)\n{inner}- b (optional object[]): Rows.\n{inner}"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string"}}},
        {"$ref": "#/definitions/b", "definitions": {"b": {}}},
        {"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        True,
    ],
)
def test_template_leaves_a_schema_that_no_outline_tells_as_it_is(render: Callable[..., str], schema: Any) -> None:
    text = render(QUESTION, tools=[{"name": "f", "description": "Do\n it.", "parameters": schema}])
    assert f"<tools>\nf: Do it.\nJSON Schema: {json.dumps(schema)}\n</tools>\n" in text


@pytest.mark.parametrize("tools", [None, []])
def test_template_has_no_tool_section_without_tools(render: Callable[..., str], tools: list[Any] | None) -> None:
    assert render(QUESTION, tools=tools) == SYSTEM + ASK


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({"a": "é<'"}, '{"a": "é<\'"}'),
        ('{"a":  1}', '{"a":  1}'),
        ({}, "{}"),
        ("", "{}"),
    ],
)
def test_template_writes_a_call(render: Callable[..., str], arguments: Any, written: str) -> None:
    answer = {"role": "assistant", "content": None, "tool_calls": [call("add", arguments)]}
    expected = f'<tool_call>\n{{"name": "add", "arguments": {written}}}\n</tool_call>'
    assert render(QUESTION, answer) == SYSTEM + ASK + PROMPT + f"<think>\n\n</think>\n\n{expected}<|im_end|>\n"


def test_template_writes_content_then_calls_and_groups_their_results(render: Callable[..., str]) -> None:
    messages = [
        {"role": "assistant", "content": "Adding.", "tool_calls": [call("add", "{}"), call("add", "{}")]},
        {"role": "tool", "content": "3", "tool_call_id": "call_1"},
        {"role": "tool", "content": "4", "tool_call_id": "call_2"},
    ]
    one = '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'
    assert render(QUESTION, *messages, prompt=True) == (
        f"{SYSTEM}{ASK}{PROMPT}<think>\n\n</think>\n\nAdding.\n{one}\n{one}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\n4\n</tool_response><|im_end|>\n"
        + f"{PROMPT}<think>"
    )


def tiny_base(tie: bool, spare_rows: int = 0) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    tokenizer = make_tokenizer(markers=())
    rows = len(tokenizer) + spare_rows
    return make_llama(tokenizer, vocab_size=rows, tie_word_embeddings=tie, max_position_embeddings=64), tokenizer


@pytest.mark.parametrize("tie", [True, False])
def test_a_marker_starts_as_the_mean_of_its_pieces(tie: bool) -> None:
    model, tokenizer = tiny_base(tie)
    before = [model.model.embed_tokens.weight.clone(), model.lm_head.weight.clone()]
    pieces = {marker: tokenizer.encode(marker) for marker in MARKERS}
    prepare_base(model, tokenizer)
    after = [model.model.embed_tokens.weight, model.lm_head.weight]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new[: len(old)], old)
        for marker, ids in pieces.items():
            (marker_id,) = tokenizer.encode(marker)
            torch.testing.assert_close(new[marker_id], old[ids].mean(dim=0))


def test_prepared_markers_are_text_that_decoding_keeps() -> None:
    model, tokenizer = tiny_base(tie=True)
    prepare_base(model, tokenizer)
    ids = tokenizer.encode("<think>\na</think>")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>\na</think>"
    assert model.generation_config is not None
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.do_sample is False
    assert tokenizer.model_max_length == 64


def test_the_separator_before_an_answer_is_one_token() -> None:
    model, tokenizer = tiny_base(tie=True)
    assert len(tokenizer.encode("\n\nHi")) == 4, "the base must be one that cuts it in two, or the test shows nothing"
    elsewhere = tokenizer.encode("a\n\nHi")
    prepare_base(model, tokenizer)
    prefix = tokenizer.encode("<think>\n\n</think>\n\n")
    for answer in ("Hi", " Hi", "\nHi", "\n\nHi", "1"):
        assert tokenizer.encode("<think>\n\n</think>\n\n" + answer)[: len(prefix)] == prefix
    assert tokenizer.encode("a\n\nHi") == elsewhere


def test_preparing_twice_changes_nothing_and_keeps_spare_rows() -> None:
    model, tokenizer = tiny_base(tie=True, spare_rows=20)
    rows = model.model.embed_tokens.weight.shape[0]
    prepare_base(model, tokenizer)
    once, backend = model.model.embed_tokens.weight.clone(), tokenizer.backend_tokenizer.to_str()
    prepare_base(model, tokenizer)
    assert torch.equal(model.model.embed_tokens.weight, once)
    assert tokenizer.backend_tokenizer.to_str() == backend
    assert len(once) == rows


def test_a_checkpoint_has_the_template_and_the_profile_of_its_adapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "load_tokenizer", lambda *_: tiny_base(tie=True)[1])
    (adapter := tmp_path / "adapter").mkdir()
    for name in DATA_FILES:
        (adapter / name).write_text(f"{name} of the adapter")
    base = replace(BASES[default_model.NAME], has_data=False)
    trained, alone = (
        build.build_tokenizer(base, tmp_path, tmp_path / f"for-{given is None}", given) for given in (adapter, None)
    )
    assert all((trained / name).read_text() == f"{name} of the adapter" for name in DATA_FILES)
    assert not any("of the adapter" in path.read_text() for path in alone.iterdir())


def test_a_tokenizer_alone_is_that_of_the_whole_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = BASES[default_model.NAME]
    monkeypatch.setattr(sources, "load_base", lambda *_: tiny_base(tie=True))
    monkeypatch.setattr(sources, "load_tokenizer", lambda *_: tiny_base(tie=True)[1])
    whole = build.build(base, tmp_path, tmp_path / "whole", None)
    alone = build.build_tokenizer(base, tmp_path, tmp_path / "alone", None)
    missing = {path.name for path in whole.iterdir()} - {path.name for path in alone.iterdir()}
    assert missing == {"config.json", "model.safetensors"}
    assert (alone / "tokenizer.json").read_text() == (whole / "tokenizer.json").read_text()
    assert configured_eos(str(alone)) == configured_eos(str(whole)) == read_tokenizer(str(alone)).eos_token_id
    assert generation_config.find("auto", str(alone)) == generation_config.find("auto", str(whole))
