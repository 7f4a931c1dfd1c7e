"""The rows of a run: one JSON line per attempt, appended as it ends, so that a killed run loses and repeats none."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from autotool_core import jsonl
from autotool_core.errors import AutoToolError

FILE = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class TurnStats:
    """The figures of one turn of an attempt. A token count that the server does not report is None."""

    resolved: str | None
    """`long` or `short`, from the server's decision record; without a record, long if the message has reasoning."""
    p_long: float | None
    prompt_tokens: int
    cached_tokens: int | None
    generated_tokens: int
    """All decoded tokens: decision, reasoning and content."""
    reasoning_tokens: int | None
    content_tokens: int | None
    latency: float
    """Seconds from the request to the complete answer."""
    calls: tuple[str, ...]
    """Names of the called tools."""
    finish_reason: str | None
    reasoning_truncated: bool | None = None
    """Whether the thought was cut by a limit of tokens; None without a decision record."""
    max_reasoning_tokens: int | None = None
    """The limit of the thought that applied, whoever set it; None without one or without a decision record."""
    load_bias: float = 0.0
    """Log-odds that the server added to long because requests waited, 0 or less."""
    load_share: float = 1.0
    """The part of the usual longest thought that the server left to the think block because requests waited."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt at an item in a mode. An attempt that ended in an error has score 0, and the turns until the error."""

    suite: str
    category: str
    id: str
    mode: str
    score: float
    reason: str | None
    """The scorer's reason why the item is not solved; None for a solved item."""
    error: str | None
    """Why the item was not answered, such as a time-out or the server's error; None for an answered item."""
    turns: tuple[TurnStats, ...]
    answers: tuple[Mapping[str, Any], ...]
    """The assistant messages of the turns, with their reasoning."""
    result: Any
    """The item's entry in the official scorer's result file, for suites that have one."""


def _required(kind: type[Row | TurnStats]) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind) if field.default is MISSING)


ROW_FIELDS, TURN_FIELDS = _required(Row), _required(TurnStats)


class RowWriter:
    """Appends rows to a run's file. A half-written line that a killed run left is cut off first."""

    def __init__(self, folder: Path) -> None:
        self._file = jsonl.Appender(folder / FILE)

    def write(self, row: Row) -> None:
        """Append a row by one system call, so that a kill cannot mix two rows. Raises OSError, such as for a full disk."""
        self._file.write(asdict(row))

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Read a run's rows one at a time. Raises AutoToolError with the file and line of what is no row."""
    path = folder / FILE
    for number, row in enumerate(jsonl.read(path), 1):
        if not _is_row(row):
            raise AutoToolError(f"{path}, line {number} is not a row of a run. Remove the line to run its item again.")
        yield row


def _is_row(row: Any) -> bool:
    """Return whether a row and its turns have all that every version wrote."""
    if not isinstance(row, dict) or not row.keys() >= ROW_FIELDS or not isinstance(row["turns"], list):
        return False
    return all(isinstance(turn, dict) and turn.keys() >= TURN_FIELDS for turn in row["turns"])


def is_relieved(row: Mapping[str, Any]) -> bool:
    """Return whether the server has made a turn of a row think less because of its load."""
    # Rows of earlier versions do not say.
    return any(turn.get("load_bias", 0) != 0 or turn.get("load_share", 1) != 1 for turn in row["turns"])


def drop(folder: Path, is_unwanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Remove unwanted rows from a run, atomically, so that their items are attempted again."""
    with jsonl.atomic_write(folder / FILE) as part, jsonl.Appender(part) as kept:
        for row in read(folder):
            if not is_unwanted(row):
                kept.write(row)
