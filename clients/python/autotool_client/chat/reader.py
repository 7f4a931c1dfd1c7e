"""Where messages come from: an interface, and lines of a pipe or a file."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Reader(Protocol):
    """Reads messages, and asks for approval."""

    def read(self, prompt: str) -> str:
        """Return the next message. Raises EOFError after the last one."""
        ...

    def confirm(self) -> bool | None:
        """Return whether the user says yes; None if there is nobody to ask."""
        ...

    def answering(self) -> AbstractContextManager[None]:
        """Return the context in which an answer is shown, and keys are not."""
        ...


class LineReader:
    """Reads every line of standard input as a message."""

    def read(self, prompt: str) -> str:
        del prompt
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return well_formed(line)

    def confirm(self) -> None:
        return None

    def answering(self) -> AbstractContextManager[None]:
        return nullcontext()


def well_formed(text: str) -> str:
    """Return the text without halves of surrogate pairs, which stand for bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
