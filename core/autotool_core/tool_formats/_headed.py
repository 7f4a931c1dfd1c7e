"""Calls whose name stands before a JSON object of arguments, between markers.

- ToolCallStart is sent with the object's first brace, ToolCallEnd with its last one; its text is passed on as valid JSON.
- Where the call's close marker stands in place of the object, the arguments are `{}`.
- Something else than the head's markers and a name: no call.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from autotool_core.parsing.events import Event, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.json_object import ObjectReader
from autotool_core.parsing.markers import WHITESPACE, MarkerNext
from autotool_core.tool_formats._body import StepwiseBody

NAME = ""
"""The place of the name in a head."""
ID = " "
"""The place of a word in a head that is skipped."""
_NAME_END = re.compile(r"[\s<\[{`]")


def _as_written(text: str) -> str:
    return text


class HeadedBody(StepwiseBody):
    """Parses a head and an object of the call number `index`: a `CallBody`, which leaves `close` to its reader.

    `head`: the markers that follow the opener, and NAME, which is a word without `<`, `[`, `{` and backticks. Whitespace
    between them is format. A part that may be missing is a tuple, which begins with its marker. `name_of` returns the tool's
    name for the word at NAME, "" if it holds none.
    """

    def __init__(
        self, index: int, head: Sequence[str | tuple[str, ...]], close: str = "", name_of: Callable[[str], str] = _as_written
    ) -> None:
        self.started = False
        self.complete = False
        self._index = index
        self._head: Iterator[str | tuple[str, ...]] = iter(head)
        self._close = close
        self._name_of = name_of
        self._events: list[Event] = []
        self._over = False
        self._name = ""
        self._collected: list[str] = []
        self._reader = ObjectReader()
        self._advance()

    def _advance(self) -> None:
        part = next(self._head, None)
        self._optional, marker = (part[1:], part[0]) if isinstance(part, tuple) else (None, part)
        self._collected = []
        if marker is None:
            self._next = MarkerNext("{", *((self._close,) if self._close else ()))
            self._read: Callable[[str], str] = self._read_brace
        elif marker in {NAME, ID}:
            self._read = self._read_name if marker == NAME else self._read_id
        else:
            self._next = MarkerNext(marker)
            self._read = self._read_marker

    def _read_name(self, text: str) -> str:
        word, rest = self._word(text)
        if word is not None:
            self._name = self._name_of(word)
            self._over = not self._name
            self._advance()
        return rest

    def _read_id(self, text: str) -> str:
        word, rest = self._word(text)
        if word is not None:
            self._advance()
        return rest

    def _word(self, text: str) -> tuple[str | None, str]:
        """Read a word; return it, None before its end, and the rest."""
        if not self._collected:
            text = text.lstrip(WHITESPACE)
        if not text:
            return None, ""
        end = _NAME_END.search(text)
        self._collected.append(text[: end.start()] if end else text)
        return (None, "") if end is None else ("".join(self._collected), text[end.start() :])

    def _read_marker(self, text: str) -> str:
        found = self._next.feed(text)
        if found is None:
            return ""
        marker, rest = found
        self._over = not marker and self._optional is None
        if marker and self._optional:
            self._head = chain(self._optional, self._head)
        self._advance()
        return rest

    def _read_brace(self, text: str) -> str:
        found = self._next.feed(text)
        if found is None:
            return ""
        marker, rest = found
        self._over = not marker
        if not marker:
            return rest
        self.started = True
        self._events.append(ToolCallStart(self._index, self._name))
        if marker == self._close:
            self._events.append(ToolCallArguments(self._index, "{}"))
            self._end()
        self._read = self._read_object
        return marker + rest

    def _read_object(self, text: str) -> str:
        written, rest = self._reader.feed(text)
        if written:
            self._events.append(ToolCallArguments(self._index, written))
        if self._reader.complete:
            self._end()
        self._over = self._over or self._reader.broken
        return "" if rest is None else rest

    def _end(self) -> None:
        self._over = self.complete = True
        self._events.append(ToolCallEnd(self._index))
