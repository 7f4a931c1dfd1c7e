"""Hermes tool calls: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, also Qwen2.5's and Qwen3's.

The body is one JSON object, scanned rather than parsed, so that the arguments' text streams as the model writes it:

- `arguments` (or `parameters`) is an object, whose text is passed on as written, or a string that holds one, which
  is decoded and passed on whole. It may stand before or after `name`; missing, it is `{}`. Other keys are skipped.
- ToolCallStart is sent once the name is known and the arguments have begun or the body is closed.
- ToolCallEnd is sent with the closing brace. Where the arguments are complete but `<`, the beginning of the close
  marker, stands in place of that brace (small models forget it), the call is complete too.
- No object, no name or an empty one, a name that is no string, arguments that are neither object nor string:
  no call. Text that cannot follow, or a string that holds no object, after ToolCallStart: the call stays without its end.
"""

import json
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from autotool_core.parsing.events import Event, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.json_text import ValueScanner, decode_string, object_text
from autotool_core.parsing.markers import WHITESPACE
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


class HermesBody:
    """Parses the JSON object of the call number `index`: a `CallBody`."""

    def __init__(self, index: int) -> None:
        self.started = False
        self.complete = False
        self._index = index
        self._events: list[Event] = []
        self._over = False
        self._expect = _Expect.OBJECT
        self._role = ""
        self._scanner: ValueScanner | None = None
        self._value: list[str] = []
        self._streaming = False
        self._name: str | None = None
        self._arguments: str | None = None

    def feed(self, text: str) -> tuple[list[Event], str | None]:
        self._events = []
        position = 0
        while position < len(text) and not self._over:
            position = self._punctuation(text, position) if self._scanner is None else self._scan(self._scanner, text, position)
        return self._events, text[position:] if self._over else None

    def _punctuation(self, text: str, position: int) -> int:
        """Read whitespace and one character between values; return the position behind them."""
        while text[position] in WHITESPACE:
            position += 1
            if position == len(text):
                return position
        char = text[position]
        if self._expect is _Expect.VALUE or (char == '"' and self._expect in {_Expect.FIRST_KEY, _Expect.KEY}):
            self._begin_value(char)
            return position
        if char == "}" and self._expect in {_Expect.FIRST_KEY, _Expect.NEXT}:
            self._close()
            return position + 1
        if char == "<" and self._expect is _Expect.NEXT and self.started:
            self._close()
            return position
        self._over = (self._expect, char) not in _PUNCTUATION
        self._expect = _PUNCTUATION.get((self._expect, char), self._expect)
        return position if self._over else position + 1

    def _begin_value(self, char: str) -> None:
        if self._expect is not _Expect.VALUE:
            self._role = "key"
        elif (self._role == "name" and char != '"') or (self._role == "arguments" and char not in '"{'):
            self._over = True
            return
        self._scanner = ValueScanner(char)
        if self._role == "arguments" and self._name is not None:
            self._start()
            self._streaming = char == "{"

    def _scan(self, scanner: ValueScanner, text: str, position: int) -> int:
        end = scanner.scan(text, position)
        piece = text[position:end]
        if self._streaming:
            self._events.append(ToolCallArguments(self._index, piece))
        else:
            self._value.append(piece)
        if end is None:
            return len(text)
        self._scanner = None
        self._end_value("".join(self._value))
        self._value = []
        return end

    def _end_value(self, value: str) -> None:
        is_key = self._role == "key"
        self._expect = _Expect.COLON if is_key else _Expect.NEXT
        if is_key:
            self._role = self._role_of(decode_string(value))
        elif self._role == "name":
            self._end_name(value)
        elif self._role == "arguments":
            self._end_arguments(value)

    def _role_of(self, key: str | None) -> str:
        """Return what the value of this key is; only the first name and the first arguments count."""
        role = _ROLES.get(key or "", "other")
        taken = (role == "name" and self._name is not None) or (role == "arguments" and self._arguments is not None)
        return "other" if taken else role

    def _end_name(self, value: str) -> None:
        self._name = decode_string(value)
        self._over = not self._name
        if self._name and self._arguments is not None:
            self._start()
            self._events.append(ToolCallArguments(self._index, self._arguments))

    def _end_arguments(self, value: str) -> None:
        if self._streaming:
            self._streaming = False
            self._arguments = ""
            return
        self._arguments = object_text(value) if value.startswith('"') else value
        self._over = self._arguments is None
        if self.started and self._arguments is not None:
            self._events.append(ToolCallArguments(self._index, self._arguments))

    def _start(self) -> None:
        self.started = True
        self._events.append(ToolCallStart(self._index, self._name or ""))

    def _close(self) -> None:
        self._over = True
        if self._name is None:
            return
        if not self.started:
            self._start()
            self._events.append(ToolCallArguments(self._index, "{}"))
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
