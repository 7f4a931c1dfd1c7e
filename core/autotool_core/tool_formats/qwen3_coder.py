r"""Qwen3-Coder's tool calls.

`<tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n...</function>\n</tool_call>`, where the outer
markers may be missing. Whitespace between the tags is format.

- ToolCallStart is sent with the first parameter's tag or the function's close tag.
- The arguments are passed on as JSON text, one parameter at a time. A value is the text up to `</parameter>` without
  one newline on either side, typed by the tool's JSON schema (`json_text.typed_value`). Of two parameters of one name the
  first counts.
- A value whose end tag is missing, has a wrong name (`</param>`, `</KEY>`) or lacks its `>` ends where only the next tag
  can stand: at `<parameter=` with a name that the schema knows, at `</function>` with `</tool_call>` or another call behind
  it, or at `</tool_call>` with another call behind it. These stand at the start of a line, unless the value begins in the
  line of its tag, and not in a call that the value shows; behind a wrong end tag each of them is enough.
- ToolCallEnd is sent with `</function>`, also if its name is wrong (`</func>`, `</NAME>`) or its `>` is missing, or
  with `</tool_call>` or the beginning of another call in its place.
- No `<function=NAME>` tag, or something else than a parameter after it: no call. Something else between or inside the
  tags after ToolCallStart: the call stays without its end.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from autotool_core.parsing.events import Event, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.json_text import typed_value
from autotool_core.parsing.markers import MarkerNext, MarkerSearch
from autotool_core.parsing.schema_types import ParameterTypes
from autotool_core.tool_formats._body import StepwiseBody
from autotool_core.tool_formats._xml_value import ParameterText
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
FUNCTION = "<function="
_CLOSE_FUNCTION = "</function>"
_PARAMETER = "<parameter="
_CLOSE_PARAMETER = "</parameter>"
_END_TAG = "</"
_OPENERS = (OPEN, FUNCTION)
_TAG_NAME = re.compile(r"[^\s/]+")
# A name ends with its line at the latest: prose that mentions a tag must not be held back to the end of the turn.
_NAME_ENDS = (">", "<", "\n")
_VALUE_TAGS = (_CLOSE_PARAMETER, _PARAMETER, _CLOSE_FUNCTION, CLOSE, OPEN, FUNCTION)
_OUTER = {_PARAMETER: FUNCTION, _CLOSE_FUNCTION: FUNCTION, CLOSE: OPEN}
"""What stands open in a value that shows the tag of a call as text."""
_BEHIND = {_CLOSE_FUNCTION: (CLOSE, OPEN, FUNCTION), CLOSE: (OPEN, FUNCTION)}
"""What behind an end tag tells that it ends the call, and is no part of a value."""


class Qwen3CoderBody(StepwiseBody):
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
        self._keys = set[str]()
        self._read: Callable[[str], str] = self._read_name if in_function else self._read_opening

    def _read_name(self, text: str) -> str:
        name, rest = self._collect(text)
        if name is None:
            return rest
        self._name = name
        self._types = ParameterTypes(self._parameters.get(name, {}))
        self._expect_tag()
        return rest

    def _read_tag(self, text: str) -> str:
        """Read a tag between the values."""
        tag = self._next.feed(text)
        if tag is None:
            return ""
        marker, rest = tag
        if marker == _PARAMETER:
            self._start()
            self._read, self._search = self._read_key, MarkerSearch(*_NAME_ENDS)
        elif marker == _END_TAG:
            self._read, self._search = self._read_end_tag, MarkerSearch(*_NAME_ENDS)
        elif marker and self.started:
            return self._end(marker + rest)
        else:
            self._over = True
            return marker + rest
        return rest

    def _read_end_tag(self, text: str) -> str:
        """Read an end tag between the values: that of the function or of the call, or a second one of a parameter."""
        before, marker, rest = self._search.feed(text)
        self._collected.append(before)
        if not marker:
            return ""
        raw = "".join(self._collected)
        name, behind = raw.strip(), rest if marker == ">" else marker + rest
        if f"{_END_TAG}{raw}{marker}" == CLOSE:
            return self._end(CLOSE + rest)
        is_tag = f"{_END_TAG}{raw}{marker}" == _CLOSE_FUNCTION or (self.started and _TAG_NAME.fullmatch(name) is not None)
        if is_tag and (name.startswith(("func", "tool_call")) or name == self._name):
            return self._end(behind)
        if is_tag and name.startswith("param"):
            self._expect_tag()
            return behind
        self._over = True
        return f"{_END_TAG}{raw}{marker}{rest}"

    def _read_key(self, text: str) -> str:
        key, rest = self._collect(text)
        if key is not None:
            self._begin_value(key)
        return rest

    def _begin_value(self, key: str) -> None:
        self._value, self._shown = ParameterText(key), Counter[str]()
        self._go_on_with_value()

    def _go_on_with_value(self) -> None:
        self._collected = []
        self._search = MarkerSearch(*_VALUE_TAGS)
        self._read = self._read_value

    def _read_value(self, text: str) -> str:
        before, marker, rest = self._search.feed(text)
        self._value.add(before)
        if marker == _CLOSE_PARAMETER:
            self._send(self._value.whole())
            self._expect_tag()
        elif marker in _OPENERS:
            self._shown[marker] += 1
            self._value.add(marker)
        elif marker and self._shown[_OUTER[marker]]:
            self._shown[_OUTER[marker]] -= marker != _PARAMETER
            self._value.add(marker)
        elif marker == _PARAMETER:
            self._read, self._search = self._read_next_key, MarkerSearch(*_NAME_ENDS)
        elif marker:
            return self._read_call_end(marker, rest)
        return rest

    def _read_call_end(self, tag: str, rest: str) -> str:
        """Read an end tag of the function or of the call inside a value."""
        if self._value.is_closed:
            return self._cut_off(tag, rest)
        if self._value.allows_tag:
            self._tag, self._next, self._read = tag, MarkerNext(*_BEHIND[tag]), self._read_behind
        else:
            self._value.add(tag)
        return rest

    def _read_next_key(self, text: str) -> str:
        """Read the name in a parameter's tag inside a value, and decide whether the value ends before the tag."""
        before, marker, rest = self._search.feed(text)
        self._collected.append(before)
        if not marker:
            return ""
        name = "".join(self._collected)
        key, is_closed = name.strip(), self._value.is_closed
        if marker == ">" and key and (is_closed or (self._value.allows_tag and self._types.knows(key))):
            self._send(self._value.cut_off())
            self._begin_value(key)
            return rest
        self._value.add(_PARAMETER + name)
        self._go_on_with_value()
        return marker + rest

    def _read_behind(self, text: str) -> str:
        """Read what is behind an end tag of the call inside a value, and decide whether it ends the call."""
        tag = self._next.feed(text)
        if tag is None:
            return ""
        marker, rest = tag
        if marker:
            return self._cut_off(self._tag, self._next.space + marker + rest)
        self._value.add(self._tag + self._next.space)
        self._go_on_with_value()
        return rest

    def _cut_off(self, tag: str, rest: str) -> str:
        self._send(self._value.cut_off())
        return self._end(rest if tag == _CLOSE_FUNCTION else tag + rest)

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
        self._next = MarkerNext(_PARAMETER, _END_TAG, OPEN, FUNCTION)
        self._read = self._read_tag

    def _start(self) -> None:
        if not self.started:
            self.started = True
            self._events.append(ToolCallStart(self._index, self._name))

    def _send(self, text: str) -> None:
        if (key := self._value.key) in self._keys:
            return
        text = self._types.fitted(key, text)
        value = typed_value(text, self._types.of_text(key, text))
        opening = ", " if self._keys else "{"
        self._events.append(ToolCallArguments(self._index, f"{opening}{json.dumps(key, ensure_ascii=False)}: {value}"))
        self._keys.add(key)

    def _end(self, rest: str) -> str:
        """End the call; return the text behind it."""
        self._start()
        self._over = self.complete = True
        self._events.append(ToolCallArguments(self._index, "}" if self._keys else "{}"))
        self._events.append(ToolCallEnd(self._index))
        return rest


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
    json_arguments=False,
)
