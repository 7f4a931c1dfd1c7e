"""The progress of a start: a line on standard error for each phase, with its seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

CLEAR = "\r\x1b[K"
"""What takes the line away that a terminal shows."""


@contextmanager
def phase(doing: str, done: str) -> Iterator[None]:
    """Say that a phase is `done` when it has ended without an error. A terminal shows what is `doing` until then."""
    began = time.monotonic()
    clear = CLEAR if sys.stderr.isatty() else ""
    if clear:
        _write(f"{doing} ...")
    try:
        yield
    except BaseException:
        _write(clear)
        raise
    _write(f"{clear}{done} in {time.monotonic() - began:.1f} s.\n")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
