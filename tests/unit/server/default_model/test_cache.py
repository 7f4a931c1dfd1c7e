"""The cache folder of the default model's `ensure`."""

import errno
import re
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.default_model import NAME
from autotool_server.default_model.bases import BASES, Base


def plant_build(monkeypatch: pytest.MonkeyPatch, build: Callable[[Base, Path, Path, Path | None], Path]) -> None:
    """Replace the builder, which downloads the base."""
    monkeypatch.setattr("autotool_server.default_model.build.build", build)


def write_checkpoint(_: Base, __: Path, scratch: Path, ___: Path | None) -> Path:
    checkpoint = scratch / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    return checkpoint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_ensure_builds_the_checkpoint_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_build(monkeypatch, write_checkpoint)
    folder = default_model.ensure()
    assert folder.parent == cache
    assert re.fullmatch(rf"Prepared the model {NAME} in \d+\.\d s \({folder}\)\.\n", capsys.readouterr().err)
    monkeypatch.delattr("autotool_server.default_model.build.build")
    assert default_model.ensure() == folder
    assert capsys.readouterr().err == ""
    assert not list(cache.glob("*.partial"))


def test_ensure_without_progress_prints_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_build(monkeypatch, write_checkpoint)
    assert default_model.ensure(progress=False).parent == cache
    assert capsys.readouterr() == ("", "")


def test_ensure_uses_the_xdg_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTOOL_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plant_build(monkeypatch, write_checkpoint)
    assert default_model.ensure().parent == tmp_path / "autotool"


def test_ensure_never_uses_files_of_a_killed_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die_half_way(_: Base, __: Path, scratch: Path, ___: Path | None) -> Path:
        (scratch / "checkpoint").mkdir()
        raise KeyboardInterrupt

    plant_build(monkeypatch, die_half_way)
    with pytest.raises(KeyboardInterrupt):
        default_model.ensure()
    plant_build(monkeypatch, write_checkpoint)
    folder = default_model.ensure()
    assert (folder / "config.json").exists()

    (folder / "config.json").unlink()
    leftover = folder.rename(folder.with_name(f"{folder.name}.partial"))  # as after a power cut
    assert (default_model.ensure() / "config.json").exists()
    assert not leftover.exists()


def test_a_changed_recipe_builds_another_checkpoint(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_build(monkeypatch, write_checkpoint)
    first = default_model.ensure()
    monkeypatch.setattr(default_model, "_BUILD_VERSION", default_model._BUILD_VERSION + 1)
    assert default_model.ensure() != first
    changed = replace(BASES[default_model.NAME], has_data=False)
    monkeypatch.setitem(BASES, default_model.NAME, changed)
    default_model.ensure()
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 3


def test_the_base_is_a_separate_checkpoint(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapters: list[Path | None] = []

    def write(base: Base, downloads: Path, scratch: Path, adapter: Path | None) -> Path:
        adapters.append(adapter)
        return write_checkpoint(base, downloads, scratch, adapter)

    plant_build(monkeypatch, write)
    assert {default_model.ensure(), default_model.ensure(trained=False)} == {path for path in cache.iterdir() if path.is_dir()}
    assert adapters == [default_model.ADAPTERS / default_model.NAME, None]


def test_a_tokenizer_alone_builds_no_weights_and_is_that_of_the_checkpoint_once_it_is_there(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotool_server.default_model.build.build_tokenizer", write_checkpoint)
    plant_build(monkeypatch, lambda *_: pytest.fail("The weights are built."))
    alone = {default_model.resolve_tokenizer(name) for name in BASES}
    monkeypatch.delattr("autotool_server.default_model.build.build_tokenizer")
    assert alone == {default_model.resolve_tokenizer(name) for name in BASES} == {*map(str, cache.glob("*-tokenizer-*"))}
    plant_build(monkeypatch, write_checkpoint)
    whole = default_model.ensure()
    assert default_model.resolve_tokenizer(default_model.NAME) == str(whole)
    monkeypatch.setattr(default_model, "ADAPTERS", tmp_path / "nowhere")
    assert default_model.resolve_tokenizer(default_model.NAME) in alone
    with pytest.raises(AutoToolError, match=r"The adapter of qwen2\.5-coder-0\.5b is not installed"):
        default_model.resolve_tokenizer("qwen2.5-coder-0.5b")  # its chat template is the adapter's


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("changed", default_model.ADAPTER_FILES)
def test_a_changed_adapter_builds_another_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    adapter = tmp_path / default_model.NAME
    adapter.mkdir()
    for name in default_model.ADAPTER_FILES:
        (adapter / name).write_text(name)
    monkeypatch.setattr(default_model, "ADAPTERS", tmp_path)
    plant_build(monkeypatch, write_checkpoint)
    trained, base = default_model.ensure(), default_model.ensure(trained=False)
    (adapter / changed).write_text("changed")
    assert default_model.ensure() != trained
    assert default_model.ensure(trained=False) == base


def test_a_missing_adapter_is_said_before_anything_is_fetched(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_model, "ADAPTERS", tmp_path / "nowhere")
    plant_build(monkeypatch, write_checkpoint)
    with pytest.raises(AutoToolError, match=r"is not installed: .*pip install \./server/.*/adapters.* --model PATH"):
        default_model.ensure()
    assert not cache.exists()
    assert default_model.ensure(trained=False).is_dir()


def test_too_little_disk_space_is_an_error_before_the_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(default_model.shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**9, 10**9))
    monkeypatch.delattr("autotool_server.default_model.build.build")
    with pytest.raises(AutoToolError, match=r"Too little disk space .* needs 1\.5 GB.*AUTOTOOL_CACHE_DIR"):
        default_model.ensure()
    assert not list(cache.glob("*.partial"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_is_a_one_sentence_error(cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fill(_: Base, __: Path, scratch: Path, ___: Path | None) -> Path:
        (scratch / "half").write_text("x")
        raise error

    plant_build(monkeypatch, fill)
    with pytest.raises(AutoToolError, match="Too little disk space for the model smollm2-135m"):
        default_model.ensure()
    assert not list(cache.glob("*.partial"))


def test_what_was_fetched_outlives_a_failure_and_ends_with_the_checkpoint(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Base, downloads: Path, __: Path, ___: Path | None) -> Path:
        (downloads / "part").write_text("1")
        raise AutoToolError("no network")

    def go_on(base: Base, downloads: Path, scratch: Path, adapter: Path | None) -> Path:
        assert (downloads / "part").read_text() == "1"
        return write_checkpoint(base, downloads, scratch, adapter)

    plant_build(monkeypatch, fail)
    with pytest.raises(AutoToolError, match="no network"):
        default_model.ensure(name="qwen2.5-coder-0.5b")
    plant_build(monkeypatch, go_on)
    folder = default_model.ensure(name="qwen2.5-coder-0.5b")
    assert {path for path in cache.iterdir() if path.is_dir()} == {folder}


def test_a_download_that_goes_on_needs_less_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(default_model.shutil, "disk_usage", lambda _: usage(10**12, 0, 1_500_000_000 - 3))
    plant_build(monkeypatch, write_checkpoint)
    with pytest.raises(AutoToolError, match="Too little disk space"):
        default_model.ensure()
    (cache / f"{default_model.NAME}.download" / "part").write_text("123")
    assert default_model.ensure().is_dir()


def test_an_unwritable_cache_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(AutoToolError, match="cannot be written: set AUTOTOOL_CACHE_DIR"):
        default_model.ensure()


SLOW_ENSURE = """
import sys, time, types

def build(base, downloads, scratch, adapter):
    print("built", flush=True)
    time.sleep(0.5)
    (scratch / "checkpoint").mkdir()
    return scratch / "checkpoint"

planted = types.ModuleType("autotool_server.default_model.build")
planted.build = build
sys.modules[planted.__name__] = planted
from autotool_server import default_model
sys.exit(not default_model.ensure().is_dir())
"""


@pytest.mark.usefixtures("cache")
def test_concurrent_processes_build_the_checkpoint_once() -> None:
    processes = [subprocess.Popen([sys.executable, "-c", SLOW_ENSURE], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(outputs) == ["", "", "built\n"]
