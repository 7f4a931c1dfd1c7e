"""Uploading a checkpoint: what is sent to the hub's client, and its refusals."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from httpx2 import ConnectError
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

    def create(_: HfApi, repo: str, **options: Any) -> Any:
        made.append((repo, options))
        return SimpleNamespace(repo_id=repo if "/" in repo else f"me/{repo}")

    monkeypatch.setattr(HfApi, "create_repo", create)

    def upload(_: HfApi, *, repo_id: str, folder_path: Path, ignore_patterns: list[str]) -> None:
        paths = [str(path.relative_to(folder_path)) for path in folder_path.rglob("*") if path.is_file()]
        made.append((repo_id, sorted(filter_repo_objects(paths, ignore_patterns=ignore_patterns))))

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert push_checkpoint(run, "me/model", private=True).endswith("/me/model")
    assert made == [("me/model", {"private": True, "exist_ok": True}), ("me/model", sorted(FILES))]
    assert push_checkpoint(run, "model", private=True).endswith("/me/model")
    assert made[-1][0] == "me/model"


def raising(error: Exception) -> Callable[..., None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    return refuse


def test_what_cannot_be_uploaded_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HfApi, "create_repo", raising(HFValidationError("The name is not valid.")))
    with pytest.raises(AutoToolError, match=r"The hub refused a b: The name is not valid\. Log in by `hf auth login`"):
        push_checkpoint(run, "a b", private=False)
    for error, message in ((HFValidationError(), "HFValidationError"), (ConnectError("no route"), "ConnectError: no route")):
        monkeypatch.setattr(HfApi, "create_repo", raising(error))
        with pytest.raises(AutoToolError, match=message):
            push_checkpoint(run, "me/model", private=False)
    (run / "mode_profile.json").unlink()
    with pytest.raises(AutoToolError, match="holds no finished checkpoint"):
        push_checkpoint(run, "me/model", private=False)
