"""Check that no line of a tracked Markdown file is over 120 columns: `python scripts/check_prose.py [FILE...]`.

Rows of tables, lines with a URL and shell commands behind a `$` prompt may be longer, since they cannot be wrapped.
Exits with 1 and prints each line that is too long as FILE:LINE.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_BYTES = 120
"""Counted in UTF-8, as some versions of awk count: never less than the columns."""
UNWRAPPABLE = re.compile(r"^\||https?:|^ *[-`]*[a-z./]*\$ ")


def long_lines(text: str) -> Iterator[int]:
    """Yield the numbers, from 1, of the lines that are too long."""
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line.encode()) > MAX_BYTES and not UNWRAPPABLE.search(line):
            yield number


def tracked_files() -> list[str]:
    """Return the Markdown files that git tracks. Raises CalledProcessError outside of a repository."""
    command = ["git", "ls-files", "--", "*.md"]
    # A fixed command.
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603


def main(arguments: Sequence[str]) -> int:
    """Print the places of lines that are too long. Return the exit code."""
    files = arguments or tracked_files()
    places = [f"{name}:{number}" for name in files for number in long_lines(Path(name).read_text(encoding="utf-8"))]
    for place in places:
        sys.stdout.write(f"{place}: over {MAX_BYTES} columns\n")
    return 1 if places else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
