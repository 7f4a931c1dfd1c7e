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
    assert all((Path(default_model.__file__).parent / file).is_file() for file in base.data_files)


def test_each_model_has_a_checkpoint_and_a_download_of_its_own() -> None:
    folders = {default_model.location(name, trained=trained) for name in BASES for trained in (True, False)}
    assert len(folders) == len(BASES) + 1  # only the default model is trained


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
