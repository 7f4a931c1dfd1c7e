"""The rows of a run: one JSON line an attempt, appended as it ends, so that a killed run loses none and doubles none."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotool_core.errors import AutoToolError

FILE = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class Turn:
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
    turns: tuple[Turn, ...]
    answers: tuple[Mapping[str, Any], ...]
    """The assistant messages, turn by turn, reasoning included."""
    result: Any
    """The item's entry in the official scorer's result file, for suites that have one."""


class RowWriter:
    """Appends rows to a run's file. What a killed run left half-written is cut off first."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)

    def write(self, row: Row) -> None:
        """One row, by one system call: a kill leaves it whole or torn, never mixed. Raises OSError (a full disk)."""
        line = json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError("the disk took only a part of a row")

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """A run's rows, one at a time. Raises AutoToolError naming file and line if one cannot be read."""
    path = folder / FILE
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return  # a run was killed here; its next start cuts it off
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise AutoToolError(f"{path}, line {number} is no JSON: remove the line to run its item again.") from error


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        step = 1 << 16
        while end > 0:
            start = max(0, end - step)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
