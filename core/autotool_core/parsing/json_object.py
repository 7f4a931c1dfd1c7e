r"""One JSON object of a model that arrives in pieces, passed on as valid JSON.

Models miswrite JSON; what can only mean one thing is written as JSON has it:

- raw control characters in strings are escaped; a backslash that begins no escape is a backslash (`\d`), except in `\'` and
  `\x41`, which are escapes of Python and JavaScript;
- half of a surrogate pair (`\ud83d` alone), which strict readers refuse, is U+FFFD;
- `True`, `False` and `None` are `true`, `false` and `null`;
- `NaN`, `Infinity` and `-Infinity` become strings of that text, which parsers of numbers accept, since JSON cannot write them;
- a comma before a closing bracket is left out.

Everything else that is no JSON (RFC 8259) breaks the object.
"""

import json
import re
from enum import Enum, auto

from autotool_core.parsing.json_text import HALF_PAIR, PAIR, REPLACEMENT, decode_string

_SPACE = re.compile(r"[ \t\r\n]+")
_SCALAR = re.compile(r'[^ \t\r\n,:\[\]{}"<]*')
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NAMES = {
    "true": "true",
    "True": "true",
    "false": "false",
    "False": "false",
    "null": "null",
    "None": "null",
    "NaN": '"NaN"',
    "Infinity": '"Infinity"',
    "-Infinity": '"-Infinity"',
}
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_ESCAPE = re.compile(rf'{PAIR}|(?!{HALF_PAIR})\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}})')
_HALF_ESCAPE = re.compile(HALF_PAIR)
_HEX_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")
_OPEN_ESCAPE = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)?\Z"
)
_CLOSERS = {"{": "}", "[": "]"}


class _Expect(Enum):
    """What the text must continue with."""

    KEY = auto()
    COLON = auto()
    VALUE = auto()
    NEXT = auto()
    STRING = auto()


class ObjectReader:
    """Reads one JSON object from its opening brace on."""

    def __init__(self) -> None:
        self.begun = False
        """Whether the first key has begun, or the object is complete: it looks like an object."""
        self.complete = False
        self.broken = False
        self._closers: list[str] = []
        self._expect = _Expect.VALUE
        self._after_string = _Expect.NEXT
        self._held = ""
        self._comma = ""
        self._written: list[str] = []

    def feed(self, text: str) -> tuple[str, str | None]:
        """Return the JSON that is settled now and, once the object is complete or broken, the text behind it, else None.

        The text behind a broken object begins with what cannot be part of it.
        """
        text = self._held + text
        self._held, self._written, position = "", [], 0
        while position < len(text) and not self.complete and not self.broken:
            end = self._in_string(text, position) if self._expect is _Expect.STRING else self._between(text, position)
            if end is None:
                self._held = text[position:]
                break
            position = end
        return "".join(self._written), text[position:] if self.complete or self.broken else None

    def _in_string(self, text: str, position: int) -> int | None:
        """Read one piece of a string; return the position behind it, or None if more text must tell how to read it."""
        if plain := _PLAIN.match(text, position):
            return self._write(plain.group(), plain.end())
        char = text[position]
        if char == '"':
            self._expect = self._after_string
            return self._write(char, position + 1)
        return self._escape(text, position) if char == "\\" else self._write(json.dumps(char)[1:-1], position + 1)

    def _escape(self, text: str, position: int) -> int | None:
        """Read a backslash, with what follows if both are an escape."""
        if _OPEN_ESCAPE.match(text, position):
            return None
        if escape := _ESCAPE.match(text, position):
            return self._write(escape.group(), escape.end())
        if half := _HALF_ESCAPE.match(text, position):
            return self._write(REPLACEMENT, half.end())
        if escape := _HEX_ESCAPE.match(text, position):
            return self._write(f"\\u00{escape.group(1)}", escape.end())
        if text[position + 1] == "'":
            return self._write("'", position + 2)
        # In front of a line's end it may be an escape of the line's end or a backslash.
        return self._break(position) if text[position + 1] < " " else self._write("\\\\", position + 1)

    def _between(self, text: str, position: int) -> int | None:
        """Read whitespace, a mark or a scalar, which stand outside of strings."""
        space = _SPACE.match(text, position)
        if space is None:
            return self._mark(text, position)
        if not self._comma:
            return self._write(space.group(), space.end())
        # The whitespace behind a comma waits with it.
        self._comma += space.group()
        return space.end()

    def _mark(self, text: str, position: int) -> int | None:
        char = text[position]
        if self._closers and char == self._closers[-1] and self._may_close(char):
            return self._close(char, position + 1)
        if char == '"' and self._expect in {_Expect.KEY, _Expect.VALUE}:
            self._after_string = _Expect.COLON if self._expect is _Expect.KEY else _Expect.NEXT
            return self._go_on(char, position + 1, _Expect.STRING)
        if char == ":" and self._expect is _Expect.COLON:
            return self._go_on(char, position + 1, _Expect.VALUE)
        if char == "," and self._expect is _Expect.NEXT:
            self._comma, self._expect = char, self._member
            return position + 1
        return self._value(text, position) if self._expect is _Expect.VALUE else self._break(position)

    def _value(self, text: str, position: int) -> int | None:
        """Read a bracket that opens, or a scalar."""
        char = text[position]
        if char in _CLOSERS:
            self._closers.append(_CLOSERS[char])
            return self._go_on(char, position + 1, self._member)
        scalar = _SCALAR.match(text, position)
        if scalar is None or scalar.end() == len(text):
            return None
        word = scalar.group()
        word = word if _NUMBER.fullmatch(word) else _NAMES.get(word, "")
        return self._go_on(word, scalar.end(), _Expect.NEXT) if word else self._break(position)

    @property
    def _member(self) -> _Expect:
        """What a member of the innermost bracket begins with."""
        return _Expect.KEY if self._closers[-1] == "}" else _Expect.VALUE

    def _may_close(self, closer: str) -> bool:
        # Between the brackets of a list a value is expected behind a comma, and in an object only behind a colon.
        return self._expect in {_Expect.NEXT, _Expect.KEY} or (self._expect is _Expect.VALUE and closer == "]")

    def _close(self, closer: str, end: int) -> int:
        self._closers.pop()
        self._comma = self._comma.removeprefix(",")
        self.complete = not self._closers
        self.begun = self.begun or self.complete
        return self._go_on(closer, end, _Expect.NEXT)

    def _go_on(self, piece: str, end: int, expect: _Expect) -> int:
        self._expect = expect
        self.begun = self.begun or expect is _Expect.STRING
        comma, self._comma = self._comma, ""
        return self._write(comma + piece, end)

    def _write(self, piece: str, end: int) -> int:
        self._written.append(piece)
        return end

    def _break(self, position: int) -> int:
        self.broken = True
        return position


def object_text(literal: str) -> str | None:
    """Return the JSON object inside a JSON string literal as text, or None if there is none; blank text is `{}`."""
    text = decode_string(literal)
    if text is None or not text.strip():
        return None if text is None else "{}"
    reader = ObjectReader()
    written, rest = reader.feed(text.strip()) if text.lstrip().startswith("{") else ("", None)
    return written if reader.complete and not rest else None
