"""The last lines on the screen, which are drawn again in place while an answer is streamed."""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.text import Text

ERASE_LINE_END = "\x1b[K"
ERASE_BELOW = "\x1b[J"


def rendered_lines(console: Console, renderable: RenderableType) -> list[str]:
    """Return the lines of a renderable with their control sequences.

    One column stays free: a terminal holds the cursor back in its last column, where erasing would take a character.
    """
    with console.capture() as capture:
        console.print(renderable, width=max(console.width - 1, 1), highlight=False)
    return [line.rstrip(" ") for line in capture.get().removesuffix("\n").split("\n")] if capture.get() else []


class Region:
    """Lines that can be replaced. Lines above them are printed once and scroll away as any output does.

    Nothing is erased before it is drawn again, so that no line flickers; a line that is the same is not drawn.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines = [""]  # the cursor is at the end of the last of these
        self._width = console.width

    @property
    def max_lines(self) -> int:
        """The number of lines that can be drawn again: those that have scrolled away cannot."""
        return max(self._console.height - 2, 1)

    def draw(self, above: Sequence[str], lines: Sequence[str]) -> None:
        """Print the lines `above`, and replace the region by the end of `lines`."""
        shown = list(lines[-self.max_lines :]) or [""]
        new = [*above, *shown]
        if new == self._lines and not above:
            return
        unchanged = self._lines if self._console.width == self._width else []
        up = self._rows() - 1
        output = ["\r", f"\x1b[{up}A" if up else ""]
        for index, line in enumerate(new):
            is_last = index == len(new) - 1
            same = index < len(unchanged) - 1 and unchanged[index] == line
            output.append("" if same and not is_last else f"{line}{ERASE_LINE_END}")
            output.append("" if is_last else "\r\n")
        output.append(ERASE_BELOW)
        self._lines, self._width = shown, self._console.width
        self._console.file.write("".join(output))
        self._console.file.flush()

    def _rows(self) -> int:
        """Return the number of the screen's rows that the lines take up; the screen may have become narrower since."""
        width = self._console.width
        if width == self._width:
            return len(self._lines)
        return sum(max(1, -(-Text.from_ansi(line).cell_len // width)) for line in self._lines)
