"""Files that a killed process leaves whole: JSON lines, each written by one system call, and files that are replaced."""

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from autotool_core.errors import AutoToolError

_BLOCK_BYTES = 1 << 16


class Appender:
    """Appends values to a file. A last line that a killed process left half-written is cut off first."""

    def __init__(self, path: Path) -> None:
        _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)

    def write(self, value: Any) -> None:
        """Write one line by one system call: a kill leaves it complete or torn, never mixed. Raises OSError (a full disk)."""
        # Values of models and data sets may hold half of a surrogate pair: UTF-8 cannot encode it, JSON writes it as an escape.
        line = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(f"the disk accepted only a part of a line of {self._file.name}")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Appender":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read(path: Path) -> Iterator[Any]:
    """Yield the values of a file one at a time; a missing file has none, and a half-written last line is left out.

    Raises AutoToolError, which names file and line, if a line is no JSON.
    """
    if not path.exists():
        return
    # The file is read as bytes because a killed writer may have left half a character.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return  # its writer was killed here; the next writer cuts the line off
            try:
                yield json.loads(line)
            except ValueError as error:
                raise AutoToolError(f"{path}, line {number} is no JSON: remove the line to do its work again.") from error


@contextmanager
def atomic_write(path: Path, *, per_process: bool = False) -> Generator[Path]:
    """Yield a path to write to, and move what was written to `path` at the end: `path` is replaced whole or not at all.

    With `per_process` the path has the process's id in its name, for files that several processes write at once. If the
    block raises, `path` stays as it was, and the part is left until the next write.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part" if per_process else f"{path.name}.part")
    part.unlink(missing_ok=True)
    yield part
    part.replace(path)


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
