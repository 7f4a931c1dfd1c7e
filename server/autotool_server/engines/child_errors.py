"""What an engine's own processes write to standard error.

vLLM's processes write there why they cannot start, as several tracebacks, and report to this process only that they failed.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from threading import Lock, Thread

STDERR = 2
JOIN_SECONDS = 5.0
"""Time for what the last process wrote to arrive, once all of them have ended."""

_BEGINNING = re.compile(rb"^[^\n]*\bERROR\b|^Process [^\n]+:\r?$|^Traceback ", re.MULTILINE)
_RECORD = re.compile(r"\(.*? pid=\d+\) ERROR [^\]]*\] ")
"""What vLLM writes before every line of a record of its log."""
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


class ChildErrors:
    """Passes on what processes write that were started in `inherited`, until `started` or `failed` and after it.

    `holds`: what they write from the first error on is held back. `started` shows it, and `failed` does not.
    """

    def __init__(self, *, holds: bool) -> None:
        read, self._write = os.pipe()
        self._shown = os.dup(STDERR)
        self._holds = holds
        self._is_starting = True
        self._errors = b""
        self._lock = Lock()
        self._thread = Thread(target=self._pass_on, args=(read,), name="child-errors", daemon=True)
        self._thread.start()

    @contextmanager
    def inherited(self) -> Iterator[None]:
        """Let the processes that start inside write here; this process itself still writes to its standard error."""
        start, write, shown = BaseProcess.start, self._write, self._shown

        def start_redirected(self: BaseProcess) -> None:
            os.dup2(write, STDERR)
            try:
                start(self)
            finally:
                os.dup2(shown, STDERR)

        # A process takes its standard error from this one, and multiprocessing has no argument for another.
        BaseProcess.start = start_redirected
        try:
            yield
        finally:
            BaseProcess.start = start
            os.close(write)

    def started(self) -> None:
        """Show what was held back."""
        with self._lock:
            self._is_starting = False
            if self._holds:
                _write_all(STDERR, self._errors)

    def failed(self) -> str | None:
        """Return the last line of the first error that the processes wrote; None if they wrote none."""
        self._thread.join(JOIN_SECONDS)
        with self._lock:
            return last_line(self._errors.decode(errors="replace"))

    def _pass_on(self, read: int) -> None:
        while chunk := os.read(read, 64 * 1024):
            with self._lock:
                _write_all(self._shown, self._take(chunk) if self._is_starting else chunk)
        os.close(read)
        os.close(self._shown)

    def _take(self, chunk: bytes) -> bytes:
        """Keep what is of an error, and return what is to be shown."""
        begins = 0 if self._errors else match.start() if (match := _BEGINNING.search(chunk)) else len(chunk)
        self._errors += chunk[begins:]
        return chunk[:begins] if self._holds else chunk


def last_line(text: str) -> str | None:
    """Return the last line of the first record of vLLM's log in a text, or of its first traceback; None for an empty text."""
    lines = [line for line in _COLOUR.sub("", text).replace("\r", "").split("\n") if line.strip()]
    record = next((match[0] for line in lines if (match := _RECORD.match(line))), None)
    if record is not None:
        # Processes write at the same time: the prefix tells whose a line is.
        lines = [line.removeprefix(record) for line in lines if line.startswith(record)]
    return lines[-1].strip() if lines else None


def _write_all(descriptor: int, data: bytes) -> None:
    # What nobody reads any more is lost: the processes that write it must not wait.
    with suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]
