"""The rows of a data set: from a local file, or from the Hugging Face hub through `datasets`."""

import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
UNEXPECTED_SHAPE = "row not of this source's shape"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row, and where it stands."""

    position: str
    """File and line, for people."""
    id: str
    """Unique in its data set."""
    value: Any


@dataclass(frozen=True, slots=True)
class RowError:
    """A row, or what is left of it, that no record can be made of."""

    position: str
    reason: str
    """One of a few, to be counted."""
    detail: str


class MalformedError(ValueError):
    """A row is not as its source's rows are. Its text is the reason, to be counted."""


def read_rows(location: str, configs: Sequence[str] = ()) -> Iterator[SourceRow | RowError]:
    """The rows of a file (.json: one list; .jsonl or .jsonl.gz), of a hub id's `train` split, in each of `configs` if any.

    Raises AutoToolError if there is no such file, or the hub does not give it.
    """
    path = Path(location)
    if path.is_file():
        return _read_list(path) if path.suffix == ".json" else _read_lines(path)
    if not HUB_ID.fullmatch(location) or path.suffix in (".json", ".jsonl", ".gz"):
        raise AutoToolError(f"{location}: there is no such file, and it is no Hugging Face id such as owner/name.")
    return chain.from_iterable(_read_hub(location, config) for config in configs or (None,))


def parse_rows(
    rows: Iterable[SourceRow | RowError], parse: Callable[[SourceRow], Iterator[Record]]
) -> Iterator[Record | RowError]:
    """`make(row)` of every row, up to the first part of it that is not as it should be; that part as a Bad."""
    for row in rows:
        if isinstance(row, RowError):
            yield row
            continue
        try:
            yield from map(_checked_json, parse(row))
        except MalformedError as error:
            yield RowError(row.position, str(error), "")
        except (AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            yield RowError(row.position, UNEXPECTED_SHAPE, f"{type(error).__name__}: {error}"[:200])


def _checked_json(record: Record) -> Record:
    """The record. Raises ValueError where no file can hold it: JSON text may name half of a surrogate pair, UTF-8 has none."""
    try:
        record.model_dump_json()
    except ValueError:
        raise MalformedError("value that cannot be written, such as half of a surrogate pair") from None
    return record


def sibling(location: str, *names: str) -> Path:
    """The first of these files in the folder of `location`. Raises AutoToolError if there is none."""
    folder = Path(location) if Path(location).is_dir() else Path(location).parent
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise AutoToolError(f"{folder} has no {' or '.join(names)}, which this source needs beside its rows.")


def json_object(value: Any) -> Mapping[str, Any]:
    """A JSON object, be it given as such or as text. Raises ValueError for anything else."""
    value = json.loads(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        raise MalformedError("not a JSON object where one should be")
    return value


def json_list(value: Any) -> Sequence[Any]:
    """A JSON list, be it given as such or as text. Raises ValueError for anything else."""
    value = json.loads(value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise MalformedError("not a JSON list where one should be")
    return value


def _read_list(path: Path) -> Iterator[SourceRow | RowError]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AutoToolError(f"{path} is no JSON: {error}. Name a file of JSON lines .jsonl.") from None
    if not isinstance(rows, list):
        raise AutoToolError(f"{path} holds no list of rows.")
    yield from (SourceRow(f"{path}, row {number}", f"{path.stem}/{number}", value) for number, value in enumerate(rows, 1))


def _read_lines(path: Path) -> Iterator[SourceRow | RowError]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            position = f"{path}, line {number}"
            try:
                yield SourceRow(position, f"{path.name.partition('.')[0]}/{number}", json.loads(line))
            except json.JSONDecodeError as error:
                yield RowError(position, "line is no JSON", str(error))


def _read_hub(name: str, config: str | None) -> Iterator[SourceRow | RowError]:
    from datasets import load_dataset  # noqa: PLC0415 it takes seconds to import, and local files need none of it

    try:
        rows = load_dataset(name, config, split="train")
    except Exception as error:
        # The hub's and the library's errors share no base, and none of them says what to do.
        raise AutoToolError(
            f"{name} could not be loaded from the Hugging Face hub ({type(error).__name__}): "
            "log in where it asks for consent, or download it and give the file's path."
        ) from error
    for number, value in enumerate(rows, 1):
        position = f"{name}{f' ({config})' if config else ''}, row {number}"
        yield SourceRow(position, f"{config}/{number}" if config else str(number), value)
