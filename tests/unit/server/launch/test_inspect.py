"""What `autotool models inspect` says of checkpoints, of which only the tokenizer is there."""

import json
from pathlib import Path

import pytest
from support.examples import blocks
from support.real_tokenizers import folder, needs
from support.tiny import CHAT_TEMPLATE, make_tokenizer

from autotool_core.errors import AutoToolError
from autotool_core.profile import FILE_NAME, Profile
from autotool_server.launch import inspect

ALWAYS = CHAT_TEMPLATE.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")


def checkpoint(folder: Path, template: str) -> str:
    make_tokenizer(template).save_pretrained(folder)
    # transformers asks for the kind of model.
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return str(folder)


def shown(folder: Path, template: str, capsys: pytest.CaptureFixture[str], profile: str | None = None) -> dict[str, str]:
    inspect.show(checkpoint(folder, template), profile, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    return {line[:12].strip(): line[12:] for line in lines[: lines.index("")]} | {"why": " ".join(lines[lines.index("") :])}


def test_a_checkpoint_that_chooses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = shown(tmp_path, "<think> " + CHAT_TEMPLATE, capsys)
    assert facts["think block"] == "<think> … </think>"
    assert facts["tool calls"] == "hermes"
    assert facts["auto"].endswith(r'the model\'s next token decides: "\n" is long, "\n\n" is short'.replace("\\'", "'"))
    assert facts["long"] == (r'yes: begins with "<think>\n", template arguments enable_thinking=true, thinking=true')
    assert "think markers <think> and </think>" in facts["why"]


def test_a_checkpoint_that_always_thinks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = shown(tmp_path, "</think> " + ALWAYS, capsys)
    assert facts["long"].startswith("yes")
    assert facts["short"] == "no: the model always thinks. Ask for mode=long."
    assert facts["auto"].startswith("no: the model has no decision token")
    assert "opens the block in every mode" in facts["why"]


def test_a_template_without_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = shown(tmp_path, CHAT_TEMPLATE.replace("if tools", "if false"), capsys)
    assert facts["tool calls"] == "hermes, but the chat template shows no tools"


def test_a_profile_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = shown(tmp_path, CHAT_TEMPLATE, capsys, "plain")
    assert (facts["profile"], facts["think block"]) == ("plain", "none")
    assert facts["why"].strip() == "The setting profile names plain."


def test_the_profile_as_json_can_be_the_checkpoints_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkpoint(tmp_path, "</think> " + ALWAYS)
    inspect.show(folder, None, as_json=True)
    written = capsys.readouterr().out
    assert json.loads(written)["think"]["short_prefix"] is None
    (tmp_path / FILE_NAME).write_text(written)
    inspect.show(folder, None, as_json=True)
    assert Profile.model_validate_json(capsys.readouterr().out) == Profile.model_validate_json(written)


@needs("qwen3")
def test_the_example_of_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    guide = Path(__file__).parents[4] / "docs" / "guides" / "families.md"
    shown = next(block for block in blocks(guide) if block.language == "text").text
    inspect.show(str(folder("qwen3")), None, as_json=False)
    assert capsys.readouterr().out == shown.replace("Qwen/Qwen3-8B", str(folder("qwen3")))


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="No tokenizer could be loaded"):
        inspect.show(str(tmp_path), None, as_json=False)
