"""Read the data sets on the user's disk."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from autotool_core.errors import AutoToolError

T = TypeVar("T")


def find_file(directory: Path, *names: str) -> Path:
    """Return the first of these files (paths within the directory) that exists. Raises AutoToolError if none does."""
    for name in names:
        if (directory / name).is_file():
            return directory / name
    raise AutoToolError(f"{directory} has no {' or '.join(names)}: name the directory of the data set with --directory.")


def json_lines(path: Path) -> Iterator[Any]:
    """Yield the rows of a file with one JSON value per line. Raises AutoToolError with the number of an invalid row."""
    with path.open(encoding="utf-8") as lines:
        yield from convert_rows(path, lines, json.loads)


def convert_rows(path: Path, rows: Iterable[Any], convert: Callable[[Any], T]) -> Iterator[T]:
    """Yield `convert(row)` of every row. Raises AutoToolError with file and row number (from 1) if `convert` fails."""
    for number, row in enumerate(rows, 1):
        try:
            converted = convert(row)
        except (AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            raise AutoToolError(
                f"{path}, row {number} does not fit this suite ({type(error).__name__}: {error}): fix or remove the row."
            ) from error
        yield converted
