"""A file or a checkpoint that was made again has another fingerprint."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from autotool_training.common.fingerprint import PIECE_BYTES, PIECES, comparable, fingerprint, portable


def weights(folder: Path, *, moved: int | None = None) -> Path:
    """A folder of several matrices, in all far larger than what is read of them, of which one may have moved."""
    folder.mkdir(exist_ok=True)
    size = PIECES * PIECE_BYTES // 16  # in float32, a quarter of what is read
    save_file({f"{at:02}": torch.full((size,), float(at == moved)) for at in range(16)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("moved", [0, 7, 15])
def test_one_moved_matrix_makes_another_checkpoint_and_a_copy_is_the_same(tmp_path: Path, moved: int) -> None:
    before = fingerprint(weights(tmp_path / "a"))
    assert (tmp_path / "a/model.safetensors").stat().st_size > 3 * PIECES * PIECE_BYTES
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    assert before == fingerprint(str(tmp_path / "b"))
    assert before != fingerprint(weights(tmp_path / "a", moved=moved))
    (tmp_path / "b/model.safetensors").rename(tmp_path / "b/adapter_model.safetensors")
    assert before != fingerprint(tmp_path / "b")


def test_a_files_fingerprint_depends_on_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text("{}\n")
    before = fingerprint(path)
    path.write_text("[]\n")
    assert None not in (before, fingerprint(path))
    assert before != fingerprint(path)


def test_a_name_that_is_no_local_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(weights(tmp_path))
    assert [fingerprint(one) for one in ("", "owner/name", "http://localhost:8000/v1")] == [None] * 3


def test_a_run_of_older_code_is_compared_without_fingerprints() -> None:
    wanted = {"seed": 0, "base_contents": "a"}
    assert comparable(wanted, {"seed": 0}) == {"seed": 0}
    assert comparable(wanted, {"base_contents": "b"}) == wanted


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/cache/smollm2-135m-0123abcd", "smollm2-135m"),
        ("/cache/smollm2-135m-base-0123abcd", "smollm2-135m-base"),
        ("/cache/qwen2.5-coder-0.5b-base-0123abcd", "qwen2.5-coder-0.5b-base"),
        ("/cache/qwen2.5-coder-0.5b-0123abcd", "qwen2.5-coder-0.5b"),
        ("/cache/qwen2.5-coder-1.5b-base-0123abcd", "qwen2.5-coder-1.5b"),
        ("/checkout/training/checkpoints/graded-tiny", "training/checkpoints/graded-tiny"),
        ("/models/smollm2-135m-mine", "/models/smollm2-135m-mine"),
        ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B"),
    ],
)
def test_folders_of_a_cache_and_a_checkout_count_by_their_names(location: str, name: str) -> None:
    assert portable({"short": {"location": location}, "models": (location, 1)}) == {
        "short": {"location": name},
        "models": [name, 1],
    }
