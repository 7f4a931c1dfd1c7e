"""The template of a checkpoint that is trained here switches modes on any server."""

from typing import Any

import pytest
from support.tiny import make_tokenizer

from autotool_core.profile import ThinkFormat
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
