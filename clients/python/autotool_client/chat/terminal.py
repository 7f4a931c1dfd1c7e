"""The screen of a terminal: Markdown as it is streamed, reasoning dimmed, a line for each call."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotool_client.chat.markdown import AnswerMarkdown, all_blocks, closed_blocks, closed_lines
from autotool_client.chat.region import Region, rendered_lines
from autotool_client.chat.screen import VISIBLE, CallEnd, CallStart, call_line, call_text

DRAW_SECONDS = 0.05
"""The least time between two drawings."""
DRAW_SHARE = 5
"""After a drawing, at least this multiple of its own time goes to reading."""

Kind = Literal["reasoning", "content", "call"]


class TerminalScreen:
    """Shows answers in a terminal.

    A block of Markdown is printed for good once it is complete. The block that is still being written, and the calls that
    run, are drawn again in place below it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin()

    def _begin(self) -> None:
        self._region = Region(self._console)
        self._kind: Literal["reasoning", "content"] = "content"
        self._text = ""  # of the block that is being written
        self._running: dict[str, CallStart] = {}
        self._ended: list[CallEnd] = []
        self._printed: Kind | None = None  # what is above what is drawn again
        self._changed = True

    @asynccontextmanager
    async def answering(self) -> AsyncGenerator[None]:
        self._begin()
        self._console.show_cursor(False)
        drawing = asyncio.create_task(self._draw_again())
        try:
            yield
        finally:
            drawing.cancel()
            self._running.clear()
            self.turn_ended()
            self._region.draw([], [])
            self._console.show_cursor(True)

    def reasoning(self, text: str) -> None:
        self._write("reasoning", text)

    def content(self, text: str) -> None:
        self._write("content", text)

    def call_started(self, call: CallStart) -> None:
        self._running[call.id] = call
        self._changed = True

    def call_ended(self, result: CallEnd) -> None:
        self._running.pop(result.call.id, None)
        self._ended.append(result)
        self._changed = True

    def turn_ended(self) -> None:
        """Print what the turn has written, then its calls: a call may end while its turn is still written."""
        above = [*self._end_text(), *self._lines("call", self._results())]
        self._printed = "call" if self._ended else self._printed
        self._ended = []
        self._region.draw(above, self._pending())

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="cyan dim"), highlight=False)

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        for name, text in rows:
            grid.add_row(Text(name, style="cyan"), Text(text, style="cyan dim"))
        self._console.print(grid)

    def failure(self, text: str) -> None:
        self._console.print(Text(text, style="red"), highlight=False)

    async def _draw_again(self) -> None:
        """Draw again and again, so that nothing that has come waits for what comes next."""
        while True:
            started = time.perf_counter()
            self.draw()
            await asyncio.sleep(max(DRAW_SECONDS, DRAW_SHARE * (time.perf_counter() - started)))

    def _write(self, kind: Literal["reasoning", "content"], text: str) -> None:
        if not text:
            return
        if self._ended and not self._text:  # calls of an earlier turn, or that the user has approved
            self.turn_ended()
        if kind != self._kind:
            self._region.draw(self._end_text(), self._pending())
            self._kind = kind
        self._text += text.translate(VISIBLE)
        if not self._text.strip("\n"):
            self._text = ""
        self._changed = True

    def draw(self) -> None:
        """Draw what has come since the last drawing."""
        if not self._changed:
            return
        self._changed = False
        closed, self._text = (closed_lines if self._kind == "reasoning" else closed_blocks)(self._text)
        above = self._print_blocks(closed)
        self._region.draw(above, self._pending())

    def _end_text(self) -> list[str]:
        """Return the lines of what is left of the text."""
        text, self._text = self._text.rstrip(), ""
        if not text:
            return []
        return self._print_blocks(text.split("\n") if self._kind == "reasoning" else all_blocks(text))

    def _print_blocks(self, blocks: Iterable[str]) -> list[str]:
        lines: list[str] = []
        for block in blocks:
            lines += self._lines(self._kind, self._rendered(block))
            self._printed = self._kind if lines else self._printed
        return lines

    def _pending(self) -> list[str]:
        """Return the lines that may still change."""
        lines = self._lines(self._kind, self._rendered(self._text)) if self._text.strip() else []
        calls = [*self._results(), *(self._one_line(f"{call_text(c.name, c.arguments)} …") for c in self._running.values())]
        if lines and calls:
            return [*lines, "", *calls]
        if calls:
            return self._lines("call", calls)
        return lines or self._lines("call", self._dim("…"))

    def _results(self) -> list[str]:
        return [self._one_line(call_line(result, self._console.width - 1)) for result in self._ended]

    def _lines(self, kind: Kind, lines: list[str]) -> list[str]:
        """Return the lines below an empty one if they are not of one piece with what is above them."""
        apart = self._printed is not None and lines and (kind == "content" or kind != self._printed)
        return ["", *lines] if apart else lines

    def _rendered(self, text: str) -> list[str]:
        if self._kind == "reasoning":
            return self._dim(text.rstrip())
        return _without_margin(rendered_lines(self._console, AnswerMarkdown(text)))

    def _dim(self, text: str) -> list[str]:
        return rendered_lines(self._console, Text(text, style="dim"))

    def _one_line(self, text: str) -> str:
        return rendered_lines(self._console, Text(text, style="cyan", no_wrap=True, overflow="ellipsis"))[0]


def _without_margin(lines: list[str]) -> list[str]:
    """Return the lines of a block without the empty ones around it, which rich puts around some kinds of blocks."""
    filled = [index for index, line in enumerate(lines) if line]
    return lines[filled[0] : filled[-1] + 1] if filled else []
