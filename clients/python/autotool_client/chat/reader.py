"""Where messages come from: an interface, and lines of a pipe or a file."""

import io
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Reader(Protocol):
    """Reads messages, and asks for approval."""

    def read(self, prompt: str) -> str:
        """Return the next message. Raises EOFError after the last one."""
        ...

    def confirm(self) -> bool | None:
        """Return whether the user says yes; None if there is nobody to ask. Raises KeyboardInterrupt if they stop instead."""
        ...

    def answering(self) -> AbstractContextManager[None]:
        """Return the context in which an answer is shown, and keys are not."""
        ...


class LineReader:
    """Reads every line of standard input as a message."""

    def __init__(self) -> None:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")

    def read(self, prompt: str) -> str:
        del prompt
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def confirm(self) -> None:
        return None

    def answering(self) -> AbstractContextManager[None]:
        return nullcontext()
