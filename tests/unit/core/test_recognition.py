"""What is found from chat templates: those that TRL ships of real checkpoints, and others written from their description."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.tiny import make_tokenizer

from autotool_core.modes import Mode
from autotool_core.prompt import PromptRenderer
from autotool_core.recognition import Recognition, recognise

SPEC = find_spec("trl")
FOLDER = Path(SPEC.submodule_search_locations[0]) / "chat_templates" if SPEC and SPEC.submodule_search_locations else None
ALWAYS, UNTRAINED = "the model always thinks", "no decision token"

FRAME = (
    "SYSTEM{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content %}HISTORY{% endif %}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>OPENING{% endif %}"
)


def template(opening: str = "", history: str = "", system: str = "") -> str:
    return FRAME.replace("OPENING", opening).replace("HISTORY", history).replace("SYSTEM", system)


DESCRIBED = {
    "deepseek_v31": template("{% if thinking %}<think>{% else %}</think>{% endif %}"),
    "seed_oss": template("", "<seed:think>{{ m.reasoning_content }}</seed:think>"),
    "magistral": template("", "[THINK]{{ m.reasoning_content }}[/THINK]"),
    "magistral_blocks": template("", "") + "{# [THINK] [/THINK] #}",
    "minimax_m2": template("<think>\n"),
    "granite32": template(
        system="{% if thinking %}Write 'Here is my thought process:', then 'Here is my response:'.{% endif %}"
    ),
    "never": template("<think>\n\n</think>\n\n"),
}


def source_of(name: str) -> str:
    if name in DESCRIBED:
        return DESCRIBED[name]
    if FOLDER is None:
        pytest.skip("TRL is not installed")
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def found(name: str) -> tuple[Recognition, PromptRenderer]:
    tokenizer = make_tokenizer(source_of(name))
    recognition = recognise(tokenizer)
    tokenizer = make_tokenizer(source_of(name), recognition.profile.markers)
    return recognition, PromptRenderer(tokenizer, recognition.profile)


@pytest.mark.parametrize(
    ("name", "long", "short", "auto", "separator"),
    [
        ("qwen3", "<think>\n", "<think>\n\n</think>\n\n", "<think>", "\n\n"),
        ("qwen3_5_think", "<think>\n", "<think>\n\n</think>\n\n", "<think>", "\n\n"),
        ("qwen3_5_nothink", "<think>\n", "<think>\n\n</think>\n\n", "<think>", "\n\n"),
        ("qwen3_8", "<think>\n", "<think>\n\n</think>\n\n", "<think>", "\n\n"),
        ("nemotron_3_nano", "<think>\n", "<think></think>", "<think>", "\n"),
        ("glm4moe", "\n<think>", "\n<think></think>", None, "\n"),
        ("deepseek_v31", "<think>", "</think>", "", "\n\n"),
        ("seed_oss", "<seed:think>", "<seed:think></seed:think>", None, ""),
        ("magistral", "[THINK]", "[THINK][/THINK]", None, ""),
        ("gemma4", "<|channel>thought\n", "", None, ""),
        ("gemma4_v2", "<|channel>thought\n", "", None, ""),
        ("granite32", "Here is my thought process:", "", None, ""),
        ("magistral_blocks", "[THINK]", "[THINK][/THINK]", None, ""),
        ("deepseekv3", "<think>\n", None, None, "\n\n"),
        ("minimax_m2", "<think>\n", None, None, "\n\n"),
        ("gptoss", "<|channel|>analysis<|message|>", "<|channel|>analysis<|message|><|end|>", None, ""),
    ],
)
def test_the_prefixes_of_the_modes(name: str, long: str, short: str | None, auto: str | None, separator: str) -> None:
    recognition, renderer = found(name)
    think = recognition.profile.think
    assert think is not None
    assert (think.long_prefix, think.short_prefix, think.auto_prefix, think.answer_separator) == (long, short, auto, separator)
    assert {mode: ALWAYS if mode is Mode.SHORT else UNTRAINED for mode, prefix in think.prefixes.items() if prefix is None} == {
        mode: next(words for words in (ALWAYS, UNTRAINED) if words in reason) for mode, reason in renderer.refusals.items()
    }


@pytest.mark.parametrize("name", ["qwen3_instruct_2507", "qwen2_5", "llama3_1", "gemma3", "never"])
def test_models_that_cannot_think(name: str) -> None:
    recognition, renderer = found(name)
    assert recognition.profile.think is None
    assert set(renderer.refusals) == {Mode.LONG, Mode.AUTO}


@pytest.mark.parametrize(
    ("name", "efforts"), [("gptoss", ("low", "medium", "high")), ("qwen3_8", ("low", "medium", "xhigh")), ("qwen3", ())]
)
def test_the_efforts_that_a_template_knows(name: str, efforts: tuple[str, ...]) -> None:
    assert found(name)[1].efforts == efforts


@pytest.mark.parametrize(
    ("name", "mode", "ending"),
    [
        ("qwen3_5_think", Mode.AUTO, "<|im_start|>assistant\n<think>"),
        ("qwen3_5_think", Mode.SHORT, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        ("glm4moe", Mode.LONG, "<|assistant|>\n<think>"),
        ("glm4moe", Mode.SHORT, "<|assistant|>\n<think></think>"),
        ("deepseek_v31", Mode.LONG, "<|assistant|><think>"),
        ("deepseek_v31", Mode.AUTO, "<|assistant|>"),
        ("gptoss", Mode.SHORT, "<|start|>assistant<|channel|>analysis<|message|><|end|>"),
    ],
)
def test_a_prompt_ends_with_the_prefix_once(name: str, mode: Mode, ending: str) -> None:
    recognition, renderer = found(name)
    tokenizer: Any = make_tokenizer(source_of(name), recognition.profile.markers)
    text = tokenizer.decode(renderer.render([{"role": "user", "content": "Hi"}], (), mode))
    assert text.endswith(ending)
    assert "think>" not in text.removesuffix(ending)


def test_the_reasons_name_the_markers_and_the_format() -> None:
    reasons = " ".join(found("qwen3_5_think")[0].reasons)
    assert "<think>" in reasons
    assert "qwen3_coder" in reasons
    assert "no known tool-call format" in " ".join(found("gemma3")[0].reasons)


def test_a_template_that_always_asks_for_an_answer_may_open_the_block() -> None:
    asking = template("<think>").replace("{% if add_generation_prompt %}", "").removesuffix("{% endif %}")
    tokenizer = make_tokenizer(asking)
    think = recognise(tokenizer).profile.think
    assert think is not None
    assert (think.long_prefix, think.short_prefix, think.auto_prefix) == ("<think>", None, None)
    renders = PromptRenderer(tokenizer, recognise(tokenizer).profile)
    ids = renders.render([{"role": "user", "content": "Why?"}], [], Mode.LONG)
    assert tokenizer.decode(ids) == "<|user|>Why?<|assistant|><think>"
