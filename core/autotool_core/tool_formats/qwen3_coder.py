r"""Qwen3-Coder's tool calls.

`<tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n...</function>\n</tool_call>`, where the outer
markers may be missing. Whitespace between the tags is format.

- ToolCallStart is sent with the first parameter's tag or the function's close tag.
- The arguments are passed on as JSON text, one parameter at a time. A value is the text up to `</parameter>` without
  one newline on either side, typed by the tool's JSON schema (`json_text.typed_value`).
- ToolCallEnd is sent with `</function>`.
- No `<function=NAME>` tag, or something else than a parameter after it: no call. Something else between or inside the
  tags after ToolCallStart: the call stays without its end.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from autotool_core.parsing.events import Event, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.json_text import typed_value
from autotool_core.parsing.markers import MarkerNext, MarkerSearch
from autotool_core.parsing.schema_types import ParameterTypes
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
FUNCTION = "<function="
_CLOSE_FUNCTION = "</function>"
_PARAMETER = "<parameter="
_CLOSE_PARAMETER = "</parameter>"
# A name ends with its line at the latest: prose that mentions a tag must not be held back to the end of the turn.
_NAME_ENDS = (">", "<", "\n")


class Qwen3CoderBody:
    """Parses the tags of the call number `index`: a `CallBody`.

    `parameters`: the JSON schema of each tool's arguments by the tool's name. `in_function`: whether the opener was
    `<function=` itself.
    """

    def __init__(self, index: int, parameters: Mapping[str, Mapping[str, Any]], *, in_function: bool) -> None:
        self.started = False
        self.complete = False
        self._index = index
        self._parameters = parameters
        self._events: list[Event] = []
        self._over = False
        self._next = MarkerNext(FUNCTION)
        self._search = MarkerSearch(*_NAME_ENDS)
        self._collected: list[str] = []
        self._name = ""
        self._key = ""
        self._sent = 0
        self._read: Callable[[str], str] = self._read_name if in_function else self._read_function

    def feed(self, text: str) -> tuple[list[Event], str | None]:
        self._events = []
        while text and not self._over:
            text = self._read(text)
        return self._events, text if self._over else None

    def _read_function(self, text: str) -> str:
        tag = self._next.feed(text)
        if tag is None:
            return ""
        marker, rest = tag
        self._over = not marker
        self._read = self._read_name
        return rest

    def _read_name(self, text: str) -> str:
        name, rest = self._collect(text)
        if name is None:
            return rest
        self._name = name
        self._types = ParameterTypes(self._parameters.get(name, {}))
        self._expect_tag()
        return rest

    def _read_tag(self, text: str) -> str:
        tag = self._next.feed(text)
        if tag is None:
            return ""
        marker, rest = tag
        self._over = marker != _PARAMETER
        if marker:
            self._start()
        if marker == _CLOSE_FUNCTION:
            self._end()
        self._search = MarkerSearch(*_NAME_ENDS)
        self._read = self._read_key
        return rest

    def _read_key(self, text: str) -> str:
        key, rest = self._collect(text)
        if key is None:
            return rest
        self._key = key
        self._search = MarkerSearch(_CLOSE_PARAMETER)
        self._read = self._read_value
        return rest

    def _read_value(self, text: str) -> str:
        before, marker, rest = self._search.feed(text)
        self._collected.append(before)
        if marker:
            self._send("".join(self._collected).removeprefix("\n").removesuffix("\n"))
            self._expect_tag()
        return rest

    def _collect(self, text: str) -> tuple[str | None, str]:
        """Read a tag's name up to `>`; return the name (None before its end or if there is none) and the rest."""
        before, marker, rest = self._search.feed(text)
        self._collected.append(before)
        if not marker:
            return None, ""
        name = "".join(self._collected).strip()
        self._collected = []
        self._over = marker != ">" or not name
        return (None, marker + rest) if self._over else (name, rest)

    def _expect_tag(self) -> None:
        self._collected = []
        self._next = MarkerNext(_PARAMETER, _CLOSE_FUNCTION)
        self._read = self._read_tag

    def _start(self) -> None:
        if not self.started:
            self.started = True
            self._events.append(ToolCallStart(self._index, self._name))

    def _send(self, value: str) -> None:
        key = json.dumps(self._key, ensure_ascii=False)
        opening = "{" if self._sent == 0 else ", "
        self._events.append(
            ToolCallArguments(self._index, f"{opening}{key}: {typed_value(value, self._types.allowed(self._key))}")
        )
        self._sent += 1

    def _end(self) -> None:
        self.complete = True
        self._events.append(ToolCallArguments(self._index, "}" if self._sent else "{}"))
        self._events.append(ToolCallEnd(self._index))


class Qwen3Coder(ToolFormat):
    """XML in `<tool_call>`."""

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> Qwen3CoderBody:
        return Qwen3CoderBody(index, parameters, in_function=opener == FUNCTION)

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        return {
            "type": "tag",
            "begin": f"{OPEN}\n{FUNCTION}{name}>\n",
            "content": {**json_tag(parameters), "style": "qwen_xml"},
            "end": f"\n{_CLOSE_FUNCTION}\n{CLOSE}",
        }

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        parts = [f"{_PARAMETER}{key}>\n{_value_text(value)}\n{_CLOSE_PARAMETER}\n" for key, value in arguments.items()]
        return f"{OPEN}\n{FUNCTION}{name}>\n{''.join(parts)}{_CLOSE_FUNCTION}\n{CLOSE}"

    def matches(self, chat_template: str) -> bool:
        return FUNCTION in chat_template


def _value_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


FORMAT = Qwen3Coder(
    name="qwen3_coder",
    markers=(OPEN, CLOSE),
    openers=(OPEN, FUNCTION),
    close=CLOSE,
    triggers=(f"{OPEN}\n{FUNCTION}",),
)
