"""What the chat shows: an interface, and its form for pipes and files."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console

# A model's text must not control the terminal: control characters are shown as pictures, line breaks and tabs are kept.
VISIBLE = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | dict.fromkeys(
    range(0x7F, 0xA0), "\ufffd"
)
MAX_LINE = 200
"""The longest line about a call in a pipe, in characters."""


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call of a server tool that runs."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class CallEnd:
    """The result of a call."""

    call: CallStart
    outcome: str
    seconds: float
    content: str


class Screen(Protocol):
    """Shows answers and notes. Texts of the model and of tools may contain anything."""

    def answering(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which an answer is shown."""
        ...

    def reasoning(self, text: str) -> None:
        """Show the next part of the reasoning."""
        ...

    def content(self, text: str) -> None:
        """Show the next part of the answer."""
        ...

    def call_started(self, call: CallStart) -> None: ...

    def call_ended(self, result: CallEnd) -> None: ...

    def turn_ended(self) -> None:
        """End the texts and calls of a turn."""
        ...

    def note(self, text: str) -> None:
        """Show a message of the chat itself."""
        ...

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show names and what they are."""
        ...

    def failure(self, text: str) -> None: ...


def call_text(name: str, arguments: str) -> str:
    """Return a call as it is written in Python: `name(argument=value)`.

    >>> call_text("add", '{"a": 1, "b": "2"}')
    'add(a=1, b="2")'
    """
    try:
        values = json.loads(arguments or "{}")
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return f"{name}({arguments})".translate(VISIBLE)
    listed = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return f"{name}({listed})".translate(VISIBLE)


def call_line(result: CallEnd, width: int) -> str:
    """Return a call and its result in one line of at most `width` characters."""
    done = "→" if result.outcome == "ok" else f"✗ {result.outcome}:"
    call = shortened(call_text(result.call.name, result.call.arguments), max(width // 2, 8))
    end = f" · {result.seconds:.1f} s"
    left = max(width - len(call) - len(done) - len(end) - 2, 8)
    return f"{call} {done} {shortened(' '.join(result.content.translate(VISIBLE).split()), left)}{end}"


def shortened(text: str, width: int) -> str:
    """Return the text in at most `width` characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


class PlainScreen:
    """Writes texts as they come, for standard output that is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._kind = ""
        self._at_line_start = True

    @asynccontextmanager
    async def answering(self) -> AsyncGenerator[None]:
        self._kind = ""
        try:
            yield
        finally:
            self._end_line()

    def reasoning(self, text: str) -> None:
        self._write("reasoning", text)

    def content(self, text: str) -> None:
        self._write("content", text)

    def call_started(self, call: CallStart) -> None:
        del call

    def call_ended(self, result: CallEnd) -> None:
        self._end_line()
        self.note(call_line(result, MAX_LINE))
        self._kind = "call"

    def turn_ended(self) -> None:
        self._end_line()

    def note(self, text: str) -> None:
        self._console.out(text, highlight=False)

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        width = max(len(name) for name, _ in rows) + 2
        self.note("\n".join(f"{name:<{width}}{text}" for name, text in rows))

    def failure(self, text: str) -> None:
        self.note(text)

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._console.out()
        self._at_line_start = True

    def _write(self, kind: str, text: str) -> None:
        if not text:
            return
        if self._kind not in ("", kind):
            self._end_line()
            self._console.out()
        self._kind = kind
        self._at_line_start = text.endswith("\n")
        self._console.out(text.translate(VISIBLE), end="", highlight=False)
