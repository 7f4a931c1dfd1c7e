"""The sampling that a checkpoint asks for: its file, and what stands in its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from autotool_core.errors import AutoToolError
from autotool_server.engines import generation_config
from autotool_server.settings import GenerationConfig, load_settings

QWEN3 = {
    "bos_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
    "pad_token_id": 151643,
    "temperature": 0.6,
    "top_k": 20,
    "top_p": 0.95,
    "transformers_version": "4.51.0",
}


def write(folder: Path, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "generation_config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_auto_reads_the_checkpoints_own_file(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, QWEN3)
    expected = GenerationConfig(do_sample=True, temperature=0.6, top_k=20, top_p=0.95)
    assert generation_config.find("auto", str(checkpoint)) == expected


def test_a_checkpoint_without_a_file_asks_for_nothing(tmp_path: Path) -> None:
    assert generation_config.find("auto", str(tmp_path)) == GenerationConfig()


def test_vllm_reads_no_file(tmp_path: Path) -> None:
    assert generation_config.find("vllm", str(write(tmp_path, QWEN3))) == GenerationConfig()


def test_a_folder_stands_in_for_the_checkpoint(tmp_path: Path) -> None:
    checkpoint, folder = write(tmp_path / "model", QWEN3), write(tmp_path / "ours", {"temperature": 0.2, "top_k": None})
    assert generation_config.find(str(folder), str(checkpoint)) == GenerationConfig(temperature=0.2)


@pytest.mark.parametrize("name", ["", "no-such-folder", "empty"])
def test_a_folder_must_hold_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AutoToolError, match=r"--generation-config, .* auto, vllm, or a folder that holds"):
        load_settings(generation_config=str(tmp_path / name))
    assert load_settings(generation_config=str(write(tmp_path / "ours", {}))).generation_config


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ('{"repetition_penalty": NaN}', "repetition_penalty"),
        ({"repetition_penalty": 1e-40}, "repetition_penalty"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path, content: Any, fault: str) -> None:
    folder = str(write(tmp_path, content))
    for read, source, checkpoint in (
        (generation_config.find, "auto", folder),
        (generation_config.check, "auto", folder),
        (generation_config.check, folder, "owner/name"),
    ):
        with pytest.raises(AutoToolError) as raised:
            read(source, checkpoint)
        assert str(tmp_path / "generation_config.json") in str(raised.value)
        assert fault in str(raised.value)
        assert "--generation-config vllm" in str(raised.value)
        assert "hot" not in str(raised.value)


def test_the_check_before_the_start_asks_no_hub_and_reads_no_file_that_is_not_used(tmp_path: Path) -> None:
    generation_config.check("vllm", str(write(tmp_path, "{")))
    for model in (None, "owner/name"):
        generation_config.check("auto", model)
