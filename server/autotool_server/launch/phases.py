"""The progress of a start: a line on standard error for each phase, with its seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def phase(doing: str, done: str) -> Iterator[None]:
    """Say that a phase is `done` when it has ended without an error. A terminal also gets a line when it begins.

    Every line is whole when it is written: libraries and engine processes write to standard error in between.
    """
    began = time.monotonic()
    if sys.stderr.isatty():
        _write(f"{doing} ...")
    yield
    _write(f"{done} in {time.monotonic() - began:.1f} s.")


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
