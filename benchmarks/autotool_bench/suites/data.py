"""Reading the data sets that stand on the user's disk."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from autotool_core.errors import AutoToolError

T = TypeVar("T")


def find(directory: Path, *names: str) -> Path:
    """The first of these files (paths within the directory) that there is. Raises AutoToolError if there is none."""
    for name in names:
        if (directory / name).is_file():
            return directory / name
    raise AutoToolError(f"{directory} has no {' or '.join(names)}: name the directory of the data set with --directory.")


def json_lines(path: Path) -> Iterator[Any]:
    """The rows of a file with one JSON value a line, read as they are needed. Raises AutoToolError naming a bad row."""
    with path.open(encoding="utf-8") as lines:
        yield from parsed(path, lines, json.loads)


def parsed(path: Path, rows: Iterable[Any], make: Callable[[Any], T]) -> Iterator[T]:
    """`make(row)` of every row. Raises AutoToolError naming file and row (from 1) where `make` finds it not as it should be."""
    for number, row in enumerate(rows, 1):
        try:
            made = make(row)
        except (AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            raise AutoToolError(
                f"{path}, row {number} is not as this suite expects ({type(error).__name__}: {error}): mend or remove the row."
            ) from error
        yield made
