"""The committed pictures are those of their sources, and readable without the network."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DRAWING = runpy.run_path(str(ROOT / "scripts" / "draw_pictures.py"))
SOURCES: list[Path] = list(DRAWING["SOURCES"])


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_picture_is_drawn_from_its_source(source: Path) -> None:
    drawn_from = source.with_suffix(".svg").read_text(encoding="utf-8").splitlines()[0]
    remedy = f"{source.stem}.svg is out of date: run `make reference`"
    assert drawn_from == DRAWING["source_comment"](source.read_text(encoding="utf-8")), remedy


def test_a_change_of_the_source_is_noticed() -> None:
    assert DRAWING["source_comment"]("a -> b") != DRAWING["source_comment"]("a -> c")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_picture_fetches_nothing(source: Path) -> None:
    svg = source.with_suffix(".svg").read_text(encoding="utf-8")
    assert "@font-face" not in svg
    assert svg.count("http") == svg.count("http://www.w3.org/")


def test_the_terminal_shows_every_row() -> None:
    source = ROOT / "docs" / "img" / "make-run.json"
    svg = DRAWING["picture"](source).replace("&#160;", " ")
    assert svg.count("get_weather(city=") == 3
    assert svg.count("minutes=420") == 2
