"""Hermes tool calls: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, also Qwen2.5's and Qwen3's.

The body is one JSON object, scanned rather than parsed, so that the arguments' text streams as the model writes it:

- `arguments` (or `parameters`) is an object, which is passed on as valid JSON (`json_object`), or a string that holds
  one, which is decoded and passed on whole. It may stand before or after `name`; missing, it is `{}`. Other keys are
  skipped. A comma may stand before the closing brace.
- ToolCallStart is sent once the name is known and the first argument has begun or the body is closed.
- ToolCallEnd is sent with the closing brace. Where the arguments are complete but `<`, the beginning of the close
  marker, stands in place of that brace (small models forget it), the call is complete too.
- No object, no name or an empty one, a name that is no string, arguments that are neither an object nor a string that
  holds one: no call. Text that cannot follow after ToolCallStart: the call stays without its end.
"""

import json
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from autotool_core.parsing.events import Event, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.json_object import ObjectReader, object_text
from autotool_core.parsing.json_text import ValueScanner, decode_string
from autotool_core.parsing.markers import WHITESPACE
from autotool_core.tool_formats._body import StepwiseBody
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


class _Expect(Enum):
    """What the body must continue with."""

    OBJECT = auto()
    FIRST_KEY = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    NEXT = auto()


_PUNCTUATION = {
    (_Expect.OBJECT, "{"): _Expect.FIRST_KEY,
    (_Expect.COLON, ":"): _Expect.VALUE,
    (_Expect.NEXT, ","): _Expect.KEY,
}
_ROLES = {"name": "name", "arguments": "arguments", "parameters": "arguments"}


class HermesBody(StepwiseBody):
    """Parses the JSON object of the call number `index`: a `CallBody`.

    `ends`: the characters that end the call if they stand in place of its last brace.
    """

    def __init__(self, index: int, ends: str = "<") -> None:
        self.started = False
        self.complete = False
        self._index = index
        self._ends = ends
        self._events: list[Event] = []
        self._over = False
        self._expect = _Expect.OBJECT
        self._role = ""
        self._scanner: ValueScanner | None = None
        self._object: ObjectReader | None = None
        self._value: list[str] = []
        self._name: str | None = None
        self._arguments: str | None = None
        """The arguments as far as they are settled and not yet sent; None before them."""

    def _read(self, text: str) -> str:
        if self._object is not None:
            return self._read_object(self._object, text)
        return self._read_value(self._scanner, text) if self._scanner is not None else self._read_mark(text)

    def _read_mark(self, text: str) -> str:
        """Read whitespace and one character between values; return the text behind them."""
        text = text.lstrip(WHITESPACE)
        if not text:
            return ""
        char = text[0]
        if self._expect is _Expect.VALUE or (char == '"' and self._expect in {_Expect.FIRST_KEY, _Expect.KEY}):
            self._begin_value(char)
            return text
        if char == "}" and (self._expect in {_Expect.FIRST_KEY, _Expect.NEXT} or self._ends_with_comma):
            self._close()
            return text[1:]
        if char in self._ends and self._expect is _Expect.NEXT and self.started:
            self._close()
            return text
        self._over = (self._expect, char) not in _PUNCTUATION
        self._expect = _PUNCTUATION.get((self._expect, char), self._expect)
        return text if self._over else text[1:]

    @property
    def _ends_with_comma(self) -> bool:
        return self._expect is _Expect.KEY and self._name is not None

    def _begin_value(self, char: str) -> None:
        if self._expect is not _Expect.VALUE:
            self._role = "key"
        if self._role == "arguments" and char == "{":
            self._object, self._arguments = ObjectReader(), ""
        elif self._role in {"name", "arguments"} and char != '"':
            self._over = True
        else:
            self._scanner = ValueScanner(char)

    def _read_object(self, reader: ObjectReader, text: str) -> str:
        written, rest = reader.feed(text)
        self._arguments = (self._arguments or "") + written
        if reader.begun:
            self._send()
        self._over = reader.broken
        if rest is None:
            return ""
        self._object, self._expect = None, _Expect.NEXT
        return rest

    def _read_value(self, scanner: ValueScanner, text: str) -> str:
        end = scanner.scan(text, 0)
        self._value.append(text[:end])
        if end is None:
            return ""
        self._scanner = None
        self._end_value("".join(self._value))
        self._value = []
        return text[end:]

    def _end_value(self, value: str) -> None:
        is_key = self._role == "key"
        self._expect = _Expect.COLON if is_key else _Expect.NEXT
        if is_key:
            self._role = self._role_of(decode_string(value))
        elif self._role == "name":
            self._name = decode_string(value)
            self._over = not self._name
        elif self._role == "arguments":
            self._arguments = object_text(value)
            self._over = self._arguments is None
        if not self._over:
            self._send()

    def _role_of(self, key: str | None) -> str:
        """Return what the value of this key is; only the first name and the first arguments count."""
        role = _ROLES.get(key or "", "other")
        taken = (role == "name" and self._name is not None) or (role == "arguments" and self._arguments is not None)
        return "other" if taken else role

    def _send(self) -> None:
        """Send the settled arguments if the name is known."""
        if self._name is None or not self._arguments:
            return
        if not self.started:
            self.started = True
            self._events.append(ToolCallStart(self._index, self._name))
        self._events.append(ToolCallArguments(self._index, self._arguments))
        self._arguments = ""

    def _close(self) -> None:
        self._over = True
        if self._name is None:
            return
        self._arguments = "{}" if self._arguments is None else self._arguments
        self._send()
        self.complete = True
        self._events.append(ToolCallEnd(self._index))


class Hermes(ToolFormat):
    """JSON in `<tool_call>`."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> HermesBody:
        return HermesBody(index)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        begin = f'{OPEN}\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '
        return {"type": "tag", "begin": begin, "content": json_tag(parameters), "end": f"}}\n{CLOSE}"}

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
        return f"{OPEN}\n{call}\n{CLOSE}"

    def matches(self, chat_template: str) -> bool:
        return OPEN in chat_template


FORMAT = Hermes(name="hermes", markers=(OPEN, CLOSE), openers=(OPEN,), close=CLOSE, triggers=(OPEN,))
