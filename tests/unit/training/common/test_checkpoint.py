"""The template of a checkpoint that is trained here switches modes on any server."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.tiny import make_tokenizer

from autotool_core.modes import Mode
from autotool_core.profile import ThinkFormat
from autotool_core.prompt import PromptRenderer
from autotool_training.common.checkpoint import prepare

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
OPENED = {"long": "<think>\n", "short": "<think>\n\n</think>\n\n", "auto": "<think>"}


SPEC = find_spec("trl")
FOLDER = Path(SPEC.submodule_search_locations[0]) / "chat_templates" if SPEC and SPEC.submodule_search_locations else Path()


@pytest.mark.parametrize(
    "name",
    ["glm4moe", "deepseek_r1_distill", "nemotron_3_nano", "qwen3", "qwen3_5_think", "qwen3_5_nothink", "qwen3_8", "llama3_1"],
)
def test_a_family_that_writes_the_block_in_its_own_way_can_be_trained_to_choose(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("autotool_training.common.checkpoint.prepare_base", lambda *_: None)
    source = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "?"}]
    plain, tokenizer = make_tokenizer(source), make_tokenizer(source)
    checkpoint = prepare(None, tokenizer)
    renderer = PromptRenderer(checkpoint.tokenizer, checkpoint.profile)
    assert renderer.refusals == {}
    before = plain.apply_chat_template(messages, tokenize=False)
    assert checkpoint.tokenizer.apply_chat_template(messages, tokenize=False) == before
    for mode, prefix in OPENED.items():
        text = tokenizer.decode(renderer.render(messages, (), Mode(mode)))
        assert text.endswith(prefix)
        assert "think>" not in text.removesuffix(prefix).rpartition("?")[2]


@pytest.mark.parametrize("template", [CHATML, QWEN3], ids=["without modes", "of Qwen3's kind"])
@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "auto"),
        ({"enable_thinking": None, "mode": None}, "auto"),
        ({"enable_thinking": True}, "long"),
        ({"enable_thinking": False}, "short"),
        *(({"mode": mode}, mode) for mode in OPENED),
    ],
)
def test_a_base_gets_a_template_that_opens_the_turn_in_every_mode(
    monkeypatch: pytest.MonkeyPatch, template: str, variables: dict[str, Any], mode: str
) -> None:
    monkeypatch.setattr("autotool_training.common.checkpoint.prepare_base", lambda *_: None)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    prepared = prepare(None, tokenizer).tokenizer
    messages = [{"role": "user", "content": "Hi"}]
    text = prepared.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **variables)
    assert text.rpartition("assistant\n")[2] == OPENED[mode]
    assert prepared.apply_chat_template(messages, tokenize=False, **variables).endswith("Hi<|im_end|>\n")
    profile = prepare(None, prepared).profile
    assert (profile.think, profile.tool_format.name) == (ThinkFormat(), "hermes")
    prepared_twice = prepare(None, prepared).tokenizer.chat_template
    assert prepared_twice == prepared.chat_template
