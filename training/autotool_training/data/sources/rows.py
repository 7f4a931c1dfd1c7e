"""Reads the rows of a data set from a local file, or from the Hugging Face hub with `datasets`."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
A_LIST = "{path} holds one list of rows: name it .json, or write a row a line."
UNEXPECTED_SHAPE = "row not of this source's shape"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of a data set and its position."""

    position: str
    """The file and the line, for messages."""
    id: str
    """An id that is unique in the data set."""
    value: Any


@dataclass(frozen=True, slots=True)
class RowError:
    """A faulty row or the faulty rest of a row."""

    position: str
    reason: str
    """One of a few reasons, which are counted."""
    detail: str
    field: str = ""
    """The field that is at fault, as in `messages[2].role`, if it is known."""
    mend: str = ""
    """What to do about it, if that is known."""
    lost: int = 1
    """The number of answers that are left out for it; 1 if that is not known."""

    def sentence(self) -> str:
        """Return where the row is, what is wrong with it, and what to do about it."""
        place = f"{self.position}: {self.field}" if self.field else self.position
        mend, detail = f"; {self.mend}" if self.mend else "", f" ({self.detail})" if self.detail else ""
        return f"{place}: {self.reason}{mend}{detail}"


class MalformedError(ValueError):
    """Raised for a row that does not have the shape of its source. Its text is the reason, which is counted."""


class FieldError(MalformedError):
    """Raised for a field of a row. Its text is the reason, which is counted."""

    def __init__(self, field: str, reason: str, mend: str) -> None:
        super().__init__(reason)
        self.field, self.mend = field, mend
        self.lost = 1
        """The number of answers that are left out for it."""


def is_hub_id(location: str) -> bool:
    """Return whether a location is written as owner/name, and not as a file of rows."""
    return HUB_ID.fullmatch(location) is not None and Path(location).suffix not in (".json", ".jsonl", ".gz")


def read_rows(
    location: str, configs: Sequence[str] = (), split: str = "train", *, mend: str = ""
) -> Iterator[SourceRow | RowError]:
    """Return the rows of a file (.json with one list, or .jsonl, also with .gz), or of a split of a hub id in each config.

    `mend` is what else to do, in the words of the source, where the hub refuses the data set. Raises AutoToolError if the file
    does not exist or is no UTF-8 text, or the hub cannot be read.
    """
    path = Path(location)
    if path.is_file():
        return _read_text(path)
    if not is_hub_id(location):
        raise AutoToolError(f"{location}: there is no such file, and it is no Hugging Face id such as owner/name.")
    return chain.from_iterable(_read_hub(location, config, split, mend) for config in configs or (None,))


def parse_rows(
    rows: Iterable[SourceRow | RowError], parse: Callable[[SourceRow], Iterator[Record | FieldError]]
) -> Iterator[Record | RowError]:
    """Yield `parse(row)` of every row up to the first fault that it raises, and a RowError for that and for those it yields."""
    for row in rows:
        if isinstance(row, RowError):
            yield row
            continue
        try:
            for one in parse(row):
                yield _of_field(row, one) if isinstance(one, FieldError) else _checked_json(one)
        except FieldError as error:
            yield _of_field(row, error)
        except MalformedError as error:
            yield RowError(row.position, str(error), "")
        except (AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            yield RowError(row.position, UNEXPECTED_SHAPE, f"{type(error).__name__}: {error}"[:200])


def _of_field(row: SourceRow, error: FieldError) -> RowError:
    return RowError(row.position, str(error), "", error.field, error.mend, error.lost)


def _checked_json(record: Record) -> Record:
    """Return the record. Raises MalformedError if UTF-8 cannot encode it, as for half of a surrogate pair in JSON text."""
    try:
        record.model_dump_json()
    except ValueError:
        raise MalformedError("value that cannot be written, such as half of a surrogate pair") from None
    return record


def sibling(location: str, *names: str) -> Path:
    """Return the first existing file of these names in the folder of `location`. Raises AutoToolError if there is none."""
    folder = Path(location) if Path(location).is_dir() else Path(location).parent
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise AutoToolError(f"{folder} has no {' or '.join(names)}, which this source needs in the folder of its rows.")


def json_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, given as such or as text. Raises ValueError for anything else."""
    value = json.loads(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        raise MalformedError("not a JSON object where one should be")
    return value


def json_list(value: Any) -> Sequence[Any]:
    """Return a JSON list, given as such or as text. Raises ValueError for anything else."""
    value = json.loads(value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise MalformedError("not a JSON list where one should be")
    return value


def json_field(value: Any, kind: type | tuple[type, ...], field: str, mend: str) -> Any:
    """Return a value of these types, given as such or as JSON. Raises FieldError for anything else."""
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise FieldError(field, "not JSON", mend) from None
    if not isinstance(value, kind) or isinstance(value, str):
        raise FieldError(field, "JSON of another kind", mend)
    return value


def _read_text(path: Path) -> Iterator[SourceRow | RowError]:
    opened, name = (gzip.open, path.stem) if path.suffix == ".gz" else (open, path.name)
    try:
        # A byte order mark, as some editors write it, is left out.
        with opened(path, "rt", encoding="utf-8-sig") as text:
            yield from _read_list(path, text) if name.endswith(".json") else _read_lines(path, text)
    except UnicodeDecodeError:
        raise AutoToolError(f"{path} is no UTF-8 text: save it as JSON lines in UTF-8 (.jsonl).") from None
    except (OSError, EOFError, zlib.error) as error:
        raise AutoToolError(f"{path} cannot be read: {error}.") from error


def _read_list(path: Path, text: IO[str]) -> Iterator[SourceRow | RowError]:
    whole = text.read()
    try:
        rows = json.loads(whole)
    except (ValueError, RecursionError) as error:
        raise AutoToolError(f"{path} is no JSON: {error}. Name a file of JSON lines .jsonl.") from None
    if not isinstance(rows, list):
        raise AutoToolError(f"{path} holds no list of rows.")
    yield from (SourceRow(f"{path}, row {number}", f"{path.stem}/{number}", value) for number, value in enumerate(rows, 1))


def _read_lines(path: Path, lines: IO[str]) -> Iterator[SourceRow | RowError]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _read_line(path, number, line)


def _read_line(path: Path, number: int, line: str) -> SourceRow | RowError:
    position = f"{path}, line {number}"
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError too
        if number == 1 and line.strip() == "[":
            raise AutoToolError(A_LIST.format(path=path)) from None
        return RowError(position, "line is no JSON", str(error))
    if number == 1 and isinstance(value, list) and value and isinstance(value[0], Mapping):
        raise AutoToolError(A_LIST.format(path=path))
    return SourceRow(position, f"{path.name.partition('.')[0]}/{number}", value)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200]


def _read_hub(name: str, config: str | None, split: str, mend: str) -> Iterator[SourceRow | RowError]:
    from datasets import load_dataset  # noqa: PLC0415 the import takes seconds, and local files do not need it

    try:
        rows = load_dataset(name, config, split=split)
    except Exception as error:
        # The errors of the hub and the library have no common base class, and do not suggest a remedy.
        raise AutoToolError(
            f"{name} could not be loaded from the Hugging Face hub ({type(error).__name__}: {_first_line(error)}): "
            f"log in where it asks for consent, {f'{mend}, ' if mend else ''}or download it and give the file's path in its "
            "place."
        ) from error
    part = "/".join([*([config] if config else []), *([split] if split != "train" else [])])
    for number, value in enumerate(rows, 1):
        yield SourceRow(
            f"{name}{f' ({part})' if part else ''}, row {number}", f"{part}/{number}" if part else str(number), value
        )
