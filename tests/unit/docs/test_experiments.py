"""Tests of the form of the pages in docs/experiments/ and of their table."""

import re
from datetime import date
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "docs" / "experiments"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")
HEADINGS = ["Question", "Set-up", "Result", "Verdict"]
MAX_COLUMNS = 120
ROW = re.compile(r"\| (?P<date>[\d-]+) \| \[(?P<title>.+)\]\((?P<file>[\w.-]+\.md)\) \| (?P<verdict>.+) \|")


def prose(text: str) -> list[str]:
    """Return the lines of a page that are neither code, nor rows of a table, nor images."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [line for line in without_code.splitlines() if not line.startswith(("|", "!["))]


def sections(text: str) -> dict[str, str]:
    """Return the body of each section of the second level by its heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer((FOLDER / "index.md").read_text(encoding="utf-8")))


def test_the_table_lists_every_page_with_its_date_and_title():
    listed = [(row["date"], row["file"], row["title"]) for row in rows()]

    assert sorted(listed) == sorted((path.name[:10], path.name, title(path)) for path in PAGES)


def test_the_table_has_the_newest_pages_first():
    dates = [row["date"] for row in rows()]

    assert dates == sorted(dates, reverse=True)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_the_four_headings_in_order_each_with_a_text(path: Path):
    bodies = sections(path.read_text(encoding="utf-8"))

    assert list(bodies) == HEADINGS
    assert all(body.strip() for body in bodies.values())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_a_date_and_a_topic_in_its_name(path: Path):
    named = re.fullmatch(r"(\d{4}-\d{2}-\d{2})-[a-z0-9]+(?:-[a-z0-9]+)*", path.stem)

    assert named
    date.fromisoformat(named[1])


@pytest.mark.parametrize("path", [*PAGES, FOLDER / "index.md"], ids=lambda path: path.stem)
def test_no_line_of_prose_is_too_long(path: Path):
    lines = prose(path.read_text(encoding="utf-8"))

    assert [line for line in lines if len(line) > MAX_COLUMNS] == []
