"""Blocks of streamed Markdown, and the screen that draws them: whatever the pieces, nothing is lost and nothing flickers."""

import io
import re
from collections.abc import Sequence
from itertools import pairwise

import pyte.modes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyte import Stream
from rich.console import Console
from support.typed import Emulator

from autotool_client.chat.markdown import AnswerMarkdown, all_blocks, closed_blocks, closed_lines
from autotool_client.chat.region import rendered_lines
from autotool_client.chat.screen import CallEnd, CallStart, call_line, call_text
from autotool_client.chat.terminal import TerminalScreen

PARTS = (
    "A paragraph of text.",
    "two\nlines",
    "# Heading",
    "- a\n- b\n\n  in b",
    "1. one\n2. two",
    "```py\nx = 1\n\ny = 2\n```",
    "> quoted\nlazy",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "    indented code",
    "Setext\n===",
    "---",
    "[a]: http://b",
    "<div>\nkept\n</div>",
)
STEP = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]+")


def blocks_in_pieces(pieces: Sequence[str]) -> list[str]:
    """Return the blocks as they are closed while the pieces come."""
    closed: list[str] = []
    rest = ""
    for piece in pieces:
        new, rest = closed_blocks(rest + piece)
        closed += new
    return [*closed, *all_blocks(rest)]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_blocks_do_not_depend_on_the_pieces(parts: list[str], data: st.DataObject) -> None:
    text = "\n\n".join(parts)
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=10))})
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    blocks = blocks_in_pieces(pieces)
    assert "".join(blocks) == text
    assert blocks == all_blocks(text)


def test_a_line_that_looks_like_a_block_before_it_is_complete() -> None:
    """`#` alone is a heading; `#hash` goes on with the paragraph."""
    assert blocks_in_pieces(["a\n#", "hash"]) == ["a\n#hash"]
    assert blocks_in_pieces(["a\n", "-", "-", "\n"]) == ["a\n--\n"]


def test_lines_of_reasoning() -> None:
    assert closed_lines("a\n\nb\nc") == (["a", "", "b"], "c")
    assert closed_lines("a\n\n") == ([], "a\n\n")


class Canvas:
    """A screen whose emulator sees every step as it is written."""

    def __init__(self, columns: int = 40, rows: int = 12, *, watched: bool = False) -> None:
        self._watched = watched
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=columns, height=rows, color_system="truecolor")
        self.screen = TerminalScreen(console)
        self.emulator = Emulator(columns, rows)
        self.emulator.set_mode(pyte.modes.LNM)  # as a terminal's driver: a line feed also returns
        self._stream = Stream(self.emulator)
        self.states: list[str] = []

    def update(self) -> None:
        """Show what has been written; if states are watched, note the screen after every control sequence and piece of text."""
        written = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        for step in STEP.findall(written) if self._watched else [written]:
            self._stream.feed(step)
            if self._watched:
                self.states.append(self.emulator.text())

    async def write(self, pieces: Sequence[str]) -> str:
        """Stream an answer in pieces, drawing after each, and return what is on the screen in the end."""
        async with self.screen.answering():
            for piece in pieces:
                self.screen.content(piece)
                self.screen.draw()
                self.update()
        self.update()
        return self.emulator.text()


@pytest.mark.parametrize("size", [4, 50])
async def test_no_word_that_was_shown_disappears(size: int) -> None:
    words = [f"w{number:03}" for number in range(60)]
    text = "\n\n".join(" ".join(words[start : start + 20]) for start in range(0, 60, 20))
    canvas = Canvas(watched=True)
    await canvas.write([text[start : start + size] for start in range(0, len(text), size)])
    seen = 0
    for state in canvas.states:
        shown = set(re.findall(r"w\d{3}", state))
        assert shown >= set(words[:seen]), state
        while seen < len(words) and words[seen] in shown:
            seen += 1
    assert seen == len(words)


@pytest.mark.parametrize("size", [3, 1000])
async def test_the_screen_does_not_depend_on_the_pieces(size: int) -> None:
    text = "\n\n".join(PARTS * 2)
    canvas = Canvas()
    shown = await canvas.write([text[start : start + size] for start in range(0, len(text), size)])
    assert shown == await Canvas().write([text])
    for kept in ("[a]: http://b", "<div>", "</div>", "indented code"):
        assert shown.count(kept) == 2


async def test_what_markdown_would_hide_is_shown() -> None:
    text = "\\( x \\) &lt; <b>! ![alt](u.png) [docs](http://d) <http://auto>"
    assert await Canvas(columns=100).write([text]) == "\\( x \\) &lt; <b>! !alt (u.png) docs (http://d) <http://auto>"


async def test_cells_that_a_header_lacks_are_shown() -> None:
    assert "3" in await Canvas().write(["| a | b |\n|---|---|\n| 1 | 2 | 3 |"])


async def test_code_behind_the_marks_of_a_fence_is_shown() -> None:
    assert (await Canvas().write(["```x = 1\ny = 2\n```"])).split() == ["x", "=", "1", "y", "=", "2"]
    assert (await Canvas().write(["```c++\ny = 2\n```"])).split() == ["y", "=", "2"]


@given(
    st.lists(
        st.sampled_from(
            ["é", "a ", "*", "_", "`", "```\n", "\n\n", "- ", "1. ", "# ", "> ", "|", "|---|\n", "[", "](", ")", "<b>"]
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_no_letter_is_lost(parts: list[str]) -> None:
    text = "".join(parts)
    console = Console(file=io.StringIO(), width=30)
    shown = "".join(rendered_lines(console, AnswerMarkdown(text)))
    assert shown.count("é") == text.count("é")


async def test_control_characters_are_shown_as_pictures() -> None:
    assert await Canvas().write(["a\x1b[2Jb\x9b\r`\x07`"]) == "a\u241b[2Jb\ufffd\u240d\u2407"


async def test_reasoning_calls_and_answer_are_apart() -> None:
    canvas, call = Canvas(), CallStart("1", "add", '{"a": 1}')
    async with canvas.screen.answering():
        canvas.screen.reasoning("Hm.\n\nYes.\n")
        canvas.screen.content("Let me ")
        canvas.screen.call_started(call)
        canvas.screen.draw()
        canvas.update()
        assert canvas.emulator.text().endswith("Yes.\n\nLet me\n\nadd(a=1) …")
        canvas.screen.call_ended(CallEnd(call, "ok", 0.1, "2"))
        canvas.screen.content("add.")
        canvas.screen.turn_ended()
        canvas.screen.content("It is 2.")
    canvas.update()
    assert canvas.emulator.text() == "Hm.\n\nYes.\n\nLet me add.\n\nadd(a=1) → 2 · 0.1 s\n\nIt is 2."


def test_a_call_in_one_line() -> None:
    assert call_text("f", '{"a": [1], "b": "x\\n\\u001b"}') == 'f(a=[1], b="x\\n\\u001b")'
    assert call_text("f", "not JSON\x1b") == "f(not JSON\u241b)"
    assert call_text("f", "") == "f()"
    line = call_line(CallEnd(CallStart("1", "f", '{"a": "' + "x" * 99 + '"}'), "error", 1.0, "no\nsuch " + "y" * 99), 60)
    assert len(line) <= 60
    assert re.fullmatch(r'f\(a="x+… ✗ error: no such y*… · 1\.0 s', line)
