"""Uploading a checkpoint: what is sent to the hub's client, and its refusals."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import filter_repo_objects

from autotool_core.errors import AutoToolError
from autotool_training.common.hub import push_checkpoint

FILES = ("model.safetensors", "config.json", "mode_profile.json", "chat_template.jinja")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    of_the_run = ("steps/checkpoint-1/model.safetensors", "tensorboard/events", "metrics.jsonl", "run.json", "best/config.json")
    for name in (*FILES, *of_the_run):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_the_checkpoint_is_uploaded_without_its_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(HfApi, "create_repo", lambda _, repo, **options: made.append((repo, options)))

    def upload(_: HfApi, *, repo_id: str, folder_path: Path, ignore_patterns: list[str]) -> None:
        paths = [str(path.relative_to(folder_path)) for path in folder_path.rglob("*") if path.is_file()]
        made.append((repo_id, sorted(filter_repo_objects(paths, ignore_patterns=ignore_patterns))))

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert push_checkpoint(run, "me/model", private=True).endswith("/me/model")
    assert made == [("me/model", {"private": True, "exist_ok": True}), ("me/model", sorted(FILES))]


def test_what_cannot_be_uploaded_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise HFValidationError("The name is not valid.")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(AutoToolError, match=r"The hub refused a b: The name is not valid\. Log in by `hf auth login`"):
        push_checkpoint(run, "a b", private=False)
    (run / "mode_profile.json").unlink()
    with pytest.raises(AutoToolError, match="holds no finished checkpoint"):
        push_checkpoint(run, "me/model", private=False)
