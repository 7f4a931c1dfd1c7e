"""The rows of a run: one JSON line an attempt, appended as it ends, so that a killed run loses none and doubles none."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotool_core import jsonl

FILE = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class TurnStats:
    """One turn of an attempt. Token counts that the server does not tell are None."""

    resolved: str | None
    """`long` or `short`; from the server's record, else long where the message has reasoning."""
    p_long: float | None
    prompt_tokens: int
    cached_tokens: int | None
    generated_tokens: int
    """All that was decoded: decision, reasoning and content."""
    reasoning_tokens: int | None
    content_tokens: int | None
    latency: float
    """Seconds from request to whole answer."""
    calls: tuple[str, ...]
    """Names of the tools called."""
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt at an item, in a mode. An item that ended in an error has score 0, and its turns until then."""

    suite: str
    category: str
    id: str
    mode: str
    score: float
    reason: str | None
    """Why it was not solved, in the scorer's words."""
    error: str | None
    """What kept the item from being answered: the server's refusal, a time-out; None for an answered item."""
    turns: tuple[TurnStats, ...]
    answers: tuple[Mapping[str, Any], ...]
    """The assistant messages, turn by turn, reasoning included."""
    result: Any
    """The item's entry in the official scorer's result file, for suites that have one."""


class RowWriter:
    """Appends rows to a run's file. What a killed run left half-written is cut off first."""

    def __init__(self, folder: Path) -> None:
        self._file = jsonl.Appender(folder / FILE)

    def write(self, row: Row) -> None:
        """One row, by one system call: a kill leaves it whole or torn, never mixed. Raises OSError (a full disk)."""
        self._file.write(asdict(row))

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """A run's rows, one at a time. Raises AutoToolError naming file and line if one cannot be read."""
    return jsonl.read(folder / FILE)


def drop_errors(folder: Path) -> None:
    """Take the rows of items that were not answered out of a run, so that it attempts them again. Whole or not at all."""
    part = folder / f"{FILE}.part"
    part.unlink(missing_ok=True)
    with jsonl.Appender(part) as kept:
        for row in read(folder):
            if row["error"] is None:
                kept.write(row)
    part.replace(folder / FILE)
