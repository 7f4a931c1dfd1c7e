"""Calls that are written as a name and bracketed arguments: `f(a=1, b="x")`, or `f{a:1,b:<escape>x<escape>}`.

- ToolCallStart is sent with the sign behind the first key or the bracket that closes the arguments, ToolCallEnd with that
  bracket.
- The arguments are passed on as JSON text, one parameter at a time, typed by the tool's JSON schema (`_literals.typed`). Of
  two parameters of one name the first counts.
- Something else than a name (of a tool, where nothing else marks the call), a bracket and a key: no call. Something else
  after ToolCallStart: the call stays without its end.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autotool_core.parsing.events import Event, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.markers import WHITESPACE, MarkerNext, MarkerSearch
from autotool_core.parsing.schema_types import ParameterTypes
from autotool_core.tool_formats._body import StepwiseBody
from autotool_core.tool_formats._literals import quoted

_NAME_END = re.compile(r"[^\w.\-]")
_PYTHON_PIECE = re.compile(r"""[^\\"'\[\](){},]+|.""", re.DOTALL)
STRING_ENDS = ",)]}:"
"""What may stand behind a string in a literal."""
_OPENERS, _CLOSERS = frozenset("([{"), frozenset(")]}")


class ValueEnd(Protocol):
    """Finds the end of a value that arrives in pieces."""

    def feed(self, text: str) -> tuple[str, str | None]:
        """Return more of the value and, behind its end, the rest: it begins with a comma or the bracket that ends the value."""
        ...


@dataclass(frozen=True)
class Syntax:
    """How a call is written: NAME `opening` (KEY `sign` VALUE, ...) `closing`. Whitespace between the parts is format."""

    opening: str
    sign: str
    closing: str
    key_of: Callable[[str], str]
    """Returns the key that a text is, "" if it is none."""
    value_end: Callable[[], ValueEnd]
    value_of: Callable[[str, frozenset[str]], str]
    """Returns the JSON text of a value, given the JSON types that the parameter may have."""
    close: str = ""
    """The text behind a call, which may stand right behind the name of a call without arguments."""


class ArgumentsBody(StepwiseBody):
    """Parses the call number `index`: a `CallBody`.

    `before`: texts of which one may stand in front of the name. `names`: the tools that it may call, None for any.
    `parameters`: the JSON schema of each tool's arguments by the tool's name.
    """

    def __init__(
        self,
        syntax: Syntax,
        index: int,
        parameters: Mapping[str, Mapping[str, Any]],
        names: Collection[str] | None = None,
        before: tuple[str, ...] = (),
    ) -> None:
        self.started = False
        self.complete = False
        self._syntax = syntax
        self._index = index
        self._parameters = parameters
        self._names = names
        self._events: list[Event] = []
        self._over = False
        self._collected: list[str] = []
        self._sent: set[str] = set()
        self._next = MarkerNext(*before)
        self._key_end = re.compile(f"[{re.escape(syntax.sign)},()\\[\\]{{}}]")
        self._read: Callable[[str], str] = self._read_before if before else self._read_name

    def _read_before(self, text: str) -> str:
        found = self._next.feed(text)
        if found is None:
            return ""
        self._read = self._read_name
        return found[1]

    def _read_name(self, text: str) -> str:
        name, rest = self._collect(text, _NAME_END)
        if name is None:
            self._over = not self._may_be_name("".join(self._collected))
            return ""
        self._name = name
        self._over = not name or (self._names is not None and name not in self._names)
        self._next = MarkerNext(self._syntax.opening, *filter(None, [self._syntax.close]))
        self._read = self._read_bracket
        return rest

    def _read_bracket(self, text: str) -> str:
        found = self._next.feed(text)
        if found is None:
            return ""
        marker, rest = found
        self._over = not marker
        self._types = ParameterTypes(self._parameters.get(self._name, {}))
        self._read = self._read_key
        return rest if marker in {"", self._syntax.opening} else self._end(marker + rest)

    def _may_be_name(self, text: str) -> bool:
        return self._names is None or any(name.startswith(text) for name in self._names)

    def _read_key(self, text: str) -> str:
        raw, rest = self._collect(text, self._key_end)
        if raw is None:
            return ""
        key = self._syntax.key_of(raw.strip())
        if not raw and rest[0] == self._syntax.closing:
            return self._end(rest[1:])
        if rest[0] != self._syntax.sign or not key:
            self._over = True
            return rest
        self._start()
        self._key, self._value = key, self._syntax.value_end()
        self._read = self._read_value
        return rest[1:]

    def _read_value(self, text: str) -> str:
        piece, rest = self._value.feed(text)
        self._collected.append(piece)
        if rest is None:
            return ""
        self._send("".join(self._collected).strip())
        self._collected = []
        if rest[0] == self._syntax.closing:
            return self._end(rest[1:])
        self._over = rest[0] != ","
        self._read = self._read_key
        return rest if self._over else rest[1:]

    def _collect(self, text: str, end: re.Pattern[str]) -> tuple[str | None, str]:
        """Read up to the end of a name; return it, None before its end, and the rest."""
        if not self._collected:
            text = text.lstrip(WHITESPACE)
        if not text:
            return None, ""
        found = end.search(text)
        self._collected.append(text[: found.start()] if found else text)
        if found is None:
            return None, ""
        name, self._collected = "".join(self._collected), []
        return name, text[found.start() :]

    def _start(self) -> None:
        if not self.started:
            self.started = True
            self._events.append(ToolCallStart(self._index, self._name))

    def _send(self, value: str) -> None:
        if self._key in self._sent:
            return
        opening = ", " if self._sent else "{"
        text = self._syntax.value_of(value, self._types.allowed(self._key))
        self._events.append(ToolCallArguments(self._index, f"{opening}{quoted(self._key)}: {text}"))
        self._sent.add(self._key)

    def _end(self, rest: str) -> str:
        """End the call; return the text behind it."""
        self._start()
        self._over = self.complete = True
        self._events.append(ToolCallArguments(self._index, "}" if self._sent else "{}"))
        self._events.append(ToolCallEnd(self._index))
        return rest


class DelimitedEnd:
    """Finds the end of a value whose strings stand between two equal delimiters, without escapes."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._in_string = False
        self._depth = 0
        self._search = self._new_search()

    def feed(self, text: str) -> tuple[str, str | None]:
        pieces: list[str] = []
        while True:
            before, marker, text = self._search.feed(text)
            pieces.append(before)
            if not marker or self._ends_at(marker):
                return "".join(pieces), f"{marker}{text}" if marker else None
            pieces.append(marker)

    def _new_search(self) -> MarkerSearch:
        return MarkerSearch(self._delimiter) if self._in_string else MarkerSearch(self._delimiter, *"{}[],")

    def _ends_at(self, marker: str) -> bool:
        if marker == self._delimiter:
            self._in_string = not self._in_string
            self._search = self._new_search()
            return False
        if self._depth == 0 and marker not in _OPENERS:
            return True
        self._depth += (marker in _OPENERS) - (marker in _CLOSERS)
        return False


class PythonEnd:
    """Finds the end of a Python literal: a comma or a bracket that closes none of its own, outside of strings.

    A string of single quotes ends with the one behind which a value may end (`STRING_ENDS`): models, and the templates of
    some checkpoints, write other quotes in it without a backslash.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""
        """The quote of the string that is open, or ""."""
        self._length = 0
        """How many quotes close the string; 0 while that is open, behind its first quote."""
        self._run = 0
        """Number of quotes just read."""
        self._is_closing = False
        """Whether a quote has been read that ends the string if a value may end behind it."""
        self._escaped = False

    def feed(self, text: str) -> tuple[str, str | None]:
        for match in _PYTHON_PIECE.finditer(text):
            if self._ends_at(match.group()):
                return text[: match.start()], text[match.start() :]
        return text, None

    def _ends_at(self, piece: str) -> bool:
        if self._quote and not self._length and self._opens(piece):
            return False
        if self._is_closing:
            behind = piece.lstrip()
            if not behind:
                return False
            self._is_closing = False
            self._quote = "" if behind[0] in STRING_ENDS else self._quote
        if self._quote:
            self._read_string(piece)
            return False
        return self._read_outside(piece)

    def _opens(self, piece: str) -> bool:
        """Read the second or third quote of a string, or see how long its quotes are by the piece behind them."""
        if piece == self._quote:
            self._run += 1
            self._length, self._run = (3, 0) if self._run == 3 else (0, self._run)
            return True
        # Two quotes are an empty string.
        self._is_closing = self._run == 2
        self._length, self._run = 1, 0
        return False

    def _read_string(self, piece: str) -> None:
        self._run = self._run + 1 if piece == self._quote and not self._escaped else 0
        self._escaped = piece == "\\" and not self._escaped
        if self._run == self._length:
            self._is_closing = self._length == 1
            self._quote, self._run = self._quote if self._is_closing else "", 0

    def _read_outside(self, piece: str) -> bool:
        if piece in {'"', "'"}:
            self._quote, self._length, self._run = piece, 0, 1
        elif self._depth == 0 and (piece == "," or piece in _CLOSERS):
            return True
        self._depth += (piece in _OPENERS) - (piece in _CLOSERS)
        return False
