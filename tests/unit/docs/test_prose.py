"""The check of the width of prose."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "check_prose.py"
long_lines = runpy.run_path(str(SCRIPT))["long_lines"]
WORDS = "word " * 24


@pytest.mark.parametrize(
    "line",
    [
        WORDS + "more",
        "- " + WORDS,
        "# " + WORDS,
        "    " + WORDS,
        "[" + WORDS + "](page.md)",
        "é" * 61,
        "`autotool serve` " + WORDS,
        "  | " + WORDS + " |",
    ],
)
def test_a_line_of_prose_that_is_too_long_is_found(line: str) -> None:
    assert list(long_lines(f"short\n{line}\nshort\n")) == [2]


@pytest.mark.parametrize(
    "line",
    [
        "x" * 120,
        "| " + WORDS + "more |",
        WORDS + "https://example.com/",
        "$ autotool serve " + WORDS,
        "`$ autotool serve " + WORDS,
    ],
)
def test_a_line_that_fits_or_cannot_be_wrapped_is_passed_over(line: str) -> None:
    assert list(long_lines(line)) == []


def test_the_command_names_the_places_and_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"short\n{WORDS}more\n")
    command = [sys.executable, str(SCRIPT), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, f"{page}:2: over 120 columns\n")
    page.write_text("short\n")
    assert subprocess.run(command, check=False).returncode == 0
