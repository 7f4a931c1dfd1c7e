"""The table of known bases, and their names in place of a folder."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.serving import scripted

from autotool_server import default_model
from autotool_server.default_model import wheels
from autotool_server.default_model.bases import BASES
from autotool_server.engines.create import create_engine, served_name
from autotool_server.launch import model_source
from autotool_server.settings import Settings

TRAINED = [name for name, base in BASES.items() if base.is_trained]


def test_each_wheel_has_a_line_with_its_hash_and_no_line_is_spare() -> None:
    lines = wheels.requirements()
    assert set(lines) == {wheel for base in BASES.values() for wheel in base.wheels}
    for name, line in lines.items():
        assert re.fullmatch(rf"{name}==[\d.]+ --hash=sha256:[0-9a-f]{{64}}", line)


@pytest.mark.parametrize("name", BASES)
def test_a_base_has_room_for_its_download_and_its_data_files(name: str) -> None:
    base = BASES[name]
    assert re.fullmatch("[0-9a-f]{64}", base.sha256)
    assert base.required_bytes > 3 * base.size
    adapter = default_model.ADAPTERS / name if base.is_trained else None
    files = base.data_files(adapter)
    assert {*files} == ({"chat_template.jinja", "mode_profile.json"} if base.is_trained else set())
    assert all(file.read_bytes() for file in files.values())


def test_there_are_no_spare_adapters_and_data() -> None:
    folders = {path.name for path in default_model.ADAPTERS.iterdir() if path.is_dir()}
    assert folders == {*TRAINED}
    data = Path(default_model.__file__).parent / "data"
    assert {path.name for path in data.iterdir()} == {name for name, base in BASES.items() if base.has_data}


@pytest.mark.parametrize("name", BASES)
def test_the_adapter_of_a_trained_model_is_small_enough_for_a_repository(name: str) -> None:
    files = [default_model.ADAPTERS / name / file for file in (*default_model.ADAPTER_FILES, "README.md")]
    assert {file.is_file() for file in files} == {BASES[name].is_trained}
    assert not BASES[name].is_trained or files[1].stat().st_size <= 25_000_000


def test_each_model_has_a_checkpoint_and_a_download_of_its_own() -> None:
    folders = {default_model.location(name, trained=trained) for name in BASES for trained in (True, False)}
    assert len(folders) == len(BASES) + len(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_the_base_of_a_trained_model_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path / "cache"))
    base = default_model.location(name, trained=False)
    base.mkdir(parents=True)
    assert default_model.resolve(f"{name}-base") == default_model.resolve_tokenizer(f"{name}-base") == str(base)
    assert default_model.name_of(str(base)) == f"{name}-base"
    assert (default_model.can_think(name), default_model.can_think(f"{name}-base")) == (True, False)
    (tmp_path / f"{name}-base").mkdir()
    assert default_model.resolve(f"{name}-base") == f"{name}-base"


def test_the_base_of_a_model_that_is_not_trained_is_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path))
    (name,) = BASES.keys() - {*TRAINED}
    default_model.location(name).mkdir(parents=True)
    assert default_model.resolve(name) == default_model.resolve(f"{name}-base") == str(default_model.location(name))
    assert not default_model.can_think(name)


@pytest.mark.parametrize("name", BASES)
def test_a_known_name_stands_for_its_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path / "cache"))
    default_model.location(name).mkdir(parents=True)
    model_source.check(name, "transformers", {})
    assert default_model.resolve(name) == str(default_model.location(name))
    assert served_name(Settings(model=name), scripted("")) == name


def test_the_remote_engine_prepares_a_tokenizer_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(default_model, "_make", lambda _, folder, __: folder.mkdir())
    engine: Any = create_engine(Settings(engine="remote", remote_url="http://127.0.0.1:1", model=default_model.NAME))
    assert [engine._tokenizer_source] == [str(path) for path in tmp_path.iterdir() if "-tokenizer-" in path.name]


@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "qwen2.5-coder-0.5", "/some/folder"])
def test_other_names_stay(model: str) -> None:
    assert default_model.resolve(model) == model
    assert served_name(Settings(model=model), scripted("")) == "scripted"


def test_a_folder_of_a_known_name_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / default_model.NAME).mkdir()
    assert default_model.resolve(default_model.NAME) == default_model.NAME
    assert served_name(Settings(model=default_model.NAME), scripted("")) == "scripted"
