"""Calls whose parameters stand between tags of their own, one after another, with texts as values.

- ToolCallStart is sent with the first parameter's tag or the call's close tag, ToolCallEnd with the close tag.
- The arguments are passed on as JSON text, one parameter at a time. A value is its text as written, typed by the tool's
  JSON schema (`json_text.typed_value`).
- A value whose end tag is missing ends where the tags of another parameter that the schema names begin, or with its call
  where another call follows.
- Of two parameters of one name the first counts.
- No name, or something else than a parameter behind it: no call. Something else between or inside the tags after
  ToolCallStart: the call stays without its end.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from autotool_core.parsing.events import Event, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.json_text import typed_value
from autotool_core.parsing.markers import WHITESPACE, MarkerNext, MarkerSearch
from autotool_core.parsing.schema_types import ALL_TYPES, ParameterTypes
from autotool_core.tool_formats._body import StepwiseBody

_QUOTES = "\"'"
_STRING = frozenset({"string"})
_SAID_TYPE = r"""(?:\s+string\s*=\s*["']?(true|false)["']?)?"""
_TYPED_KEY = re.compile(rf"(.*?){_SAID_TYPE}", re.DOTALL)


@dataclass(frozen=True)
class Tags:
    """The tags of a call.

    `before_name` NAME `after_name` (`before_key` KEY `after_key` `before_value` VALUE `after_value`)* `close`. Whitespace
    around names and keys, and between the tags, is format, and so are quotes around names and keys.
    """

    before_name: str
    """"" if the opener stands right before the name."""
    after_name: str
    """"" if the next tag or the end of the line ends the name."""
    before_key: str
    after_key: str
    before_value: str
    """"" if the value begins behind `after_key`."""
    after_value: str
    close: str
    outer_close: str = ""
    """The text behind all calls of a turn, which may stand in place of `close`."""
    says_type: bool = False
    """Whether the tag of a key says how its value is written: `string="true"`, a text, or `string="false"`, JSON."""


class TaggedBody(StepwiseBody):
    """Parses the tags of the call number `index`: a `CallBody`, which leaves `close` to its reader.

    `parameters`: the JSON schema of each tool's arguments by the tool's name. `named`: whether `before_name` has been read.
    """

    def __init__(self, tags: Tags, index: int, parameters: Mapping[str, Mapping[str, Any]], *, named: bool) -> None:
        self.started = False
        self.complete = False
        self._tags = tags
        self._index = index
        self._parameters = parameters
        self._events: list[Event] = []
        self._over = False
        self._next = MarkerNext(tags.before_name)
        self._collected: list[str] = []
        self._name = ""
        self._key = ""
        self._said = ""
        self._sent: set[str] = set()
        close = re.escape(tags.close)
        self._following_call = re.compile(rf"\s*({close})\s*{close.replace('</', '<', 1).removesuffix('>')}")
        # A name ends with its line at the latest: prose that mentions a tag must not be held back to the end of the turn.
        self._search = MarkerSearch(tags.after_name or "<", "\n")
        self._read: Callable[[str], str] = self._read_name if named else self._read_opening

    def _read_name(self, text: str) -> str:
        if not self._collected:
            text = text.lstrip(WHITESPACE)
        name, marker, rest = self._collect(text)
        if name is None:
            return ""
        self._name = name = _unquoted(name)
        self._over = not name or any(char in name for char in WHITESPACE) or (marker == "\n" and bool(self._tags.after_name))
        self._types = ParameterTypes(self._parameters.get(name, {}))
        self._expect_tag()
        return rest if marker == self._tags.after_name and not self._over else marker + rest

    def _read_tag(self, text: str) -> str:
        tag = self._next.feed(text)
        if tag is None:
            return ""
        marker, rest = tag
        self._over = marker != self._tags.before_key
        if marker and not self.started:
            self.started = True
            self._events.append(ToolCallStart(self._index, self._name))
        if marker and self._over:
            self._end()
            return marker + rest
        self._search = MarkerSearch(self._tags.after_key, "\n")
        self._read = self._read_key
        return rest

    def _read_key(self, text: str) -> str:
        key, marker, rest = self._collect(text)
        if key is None:
            return ""
        self._key, self._said = self._typed_key(key)
        self._over = not self._key or marker == "\n"
        if self._over:
            return marker + rest
        self._next = MarkerNext(self._tags.before_value)
        self._search = MarkerSearch(self._tags.after_value)
        self._read = self._read_before_value if self._tags.before_value else self._read_value
        return rest

    def _read_before_value(self, text: str) -> str:
        tag = self._next.feed(text)
        if tag is None:
            return ""
        marker, rest = tag
        self._over = not marker
        self._read = self._read_value
        return rest

    def _read_value(self, text: str) -> str:
        before, marker, rest = self._search.feed(text)
        self._collected.append(before)
        if not marker:
            return rest
        value = "".join(self._collected)
        if following := self._following_call.search(value):
            self._send_divided(value[: following.start()])
            self._end()
            self._over = True
            return value[following.start(1) :] + marker + rest
        self._send_divided(value)
        self._expect_tag()
        return rest

    def _typed_key(self, key: str) -> tuple[str, str]:
        """Return the key in a tag and what the tag says of the value's type: `true`, `false` or nothing."""
        match = _TYPED_KEY.fullmatch(key) if self._tags.says_type else None
        return (_unquoted(match[1]), match[2] or "") if match else (_unquoted(key), "")

    def _send_divided(self, value: str) -> None:
        for key, said, part in self._divided(value):
            self._send(key, said, part)

    def _collect(self, text: str) -> tuple[str | None, str, str]:
        """Read a name; return it (None before its end), the marker behind it and the rest."""
        before, marker, rest = self._search.feed(text)
        if before:
            self._collected.append(before)
        if not marker:
            return None, "", ""
        name = "".join(self._collected).strip()
        self._collected = []
        return name, marker, rest

    def _expect_tag(self) -> None:
        self._collected = []
        self._next = MarkerNext(self._tags.before_key, self._tags.close, *filter(None, [self._tags.outer_close]))
        self._read = self._read_tag

    def _divided(self, value: str) -> Iterator[tuple[str, str, str]]:
        """Yield the parameters in the text of one value, in which the end tags of others may be missing: key, type, text."""
        schema = self._parameters.get(self._name, {})
        known = {*cast("Mapping[str, Any]", schema.get("properties") or {})} - self._sent - {self._key}
        if self._tags.before_key not in value or not known:
            yield self._key, self._said, value
            return
        key, said, position = self._key, self._said, 0
        for match in self._parameter_tags(known).finditer(value):
            yield key, said, value[position : match.start()]
            key, said, position = match[1], match[2] or "", match.end()
        yield key, said, value[position:]

    def _parameter_tags(self, keys: set[str]) -> re.Pattern[str]:
        """Return the pattern of the tags before the value of one of some parameters."""
        tags = self._tags
        names = "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))
        before, after, value = map(re.escape, (tags.before_key, tags.after_key, tags.before_value))
        gap = rf"\s*{value}" if value else ""
        said = _SAID_TYPE if tags.says_type else "()"
        return re.compile(rf"\s*{before}\s*[{_QUOTES}]?({names})[{_QUOTES}]?{said}\s*{after}{gap}")

    def _send(self, key: str, said: str, value: str) -> None:
        if key in self._sent:
            return
        opening = ", " if self._sent else "{"
        value = self._types.fitted(key, value)
        text = _said_value(value, said, self._types.of_text(key, value))
        self._events.append(ToolCallArguments(self._index, f"{opening}{json.dumps(key, ensure_ascii=False)}: {text}"))
        self._sent.add(key)

    def _end(self) -> None:
        self.complete = True
        self._events.append(ToolCallArguments(self._index, "}" if self._sent else "{}"))
        self._events.append(ToolCallEnd(self._index))


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in _QUOTES else name


def _said_value(value: str, said: str, types: frozenset[str]) -> str:
    """Return the JSON text of a value whose tag says `true` (a text), `false` (JSON) or nothing."""
    if said == "true":
        return typed_value(value, _STRING)
    if said == "false":
        written = typed_value(value, ALL_TYPES - _STRING)
        # Where the schema has only strings, a number is the text of one.
        return typed_value(value, types) if types == _STRING and written[0] != '"' else written
    return typed_value(value, types)


def value_text(value: object) -> str:
    """Return a value as chat templates write it between tags: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
