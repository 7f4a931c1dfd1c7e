"""The examples of the documentation: fenced blocks, run as they are pasted and compared with the output that is shown.

python -m support.examples run PAGE               run the page's Python programs and compare their outputs
python -m support.examples commands PAGE TEXT     print the first block of commands of the page that has the text
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

LOCAL_URL = "http://localhost:8000/v1"
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \w+day")
DECIMAL = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Number of the block's first line, from 1."""
    language: str
    text: str


@dataclass(frozen=True)
class Example:
    """A program, and the output that the page shows below it; None if it shows none."""

    program: Block
    output: str | None


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("text")) + 1, found["language"], found["text"])
        for found in FENCE.finditer(text)
    ]


def examples(page: Path) -> Iterator[Example]:
    """Yield the Python programs of a page. Blocks that import nothing are parts of programs."""
    found = blocks(page)
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language == "python" and re.search(r"^(from|import) ", block.text, re.MULTILINE):
            yield Example(block, following.text if following is not None and following.language == "text" else None)


def assert_same_output(actual: str, shown: str) -> None:
    """Check an output against the one that a page shows. Moments may differ, and decimals by the arithmetic of the machine."""
    actual, shown = (MOMENT.sub("MOMENT", text.strip()) for text in (actual, shown))
    assert DECIMAL.sub("DECIMAL", actual) == DECIMAL.sub("DECIMAL", shown)
    decimals = [[float(number) for number in DECIMAL.findall(text)] for text in (actual, shown)]
    assert decimals[0] == pytest.approx(decimals[1], abs=0.02)


def commands(page: Path, text: str) -> str:
    """Return the first block of commands that has the text. Of a block that shows a terminal, only the typed lines."""
    found = next(block for block in blocks(page) if block.language in ("bash", "console") and text in block.text)
    if found.language == "bash":
        return found.text
    return "\n".join(line.removeprefix("$ ") for line in found.text.splitlines() if line.startswith("$ "))


def _run(page: Path) -> None:
    for example in examples(page):
        done = subprocess.run([sys.executable, "-c", example.program.text], check=True, stdout=subprocess.PIPE, text=True)
        sys.stdout.write(f"{page.name}:{example.program.line}\n{done.stdout}\n")
        assert example.output is not None
        assert_same_output(done.stdout, example.output)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", page]:
            _run(Path(page))
        case ["commands", page, text]:
            sys.stdout.write(commands(Path(page), text) + "\n")
        case _:
            sys.exit(__doc__)
