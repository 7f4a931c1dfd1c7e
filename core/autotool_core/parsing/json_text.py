"""JSON inside model text: where a value ends while it is still arriving, and which JSON a parameter's text means."""

import json
import re
from typing import Any, NoReturn, cast

from autotool_core.parsing.schema_types import type_name

_STRUCTURE = re.compile(r'\\.|["{}\[\]\\]', re.DOTALL)
_SCALAR_END = re.compile(r"[ \t\r\n,}\]<]")


class ValueScanner:
    """Finds the end of one JSON value by its brackets and strings alone; it does not validate."""

    def __init__(self, first: str) -> None:
        self._scalar = first not in '"{['
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def scan(self, text: str, position: int) -> int | None:
        """Read on from `position`, at first the value's first character; return the position behind its end, None if later."""
        if self._scalar:
            end = _SCALAR_END.search(text, position)
            return end.start() if end else None
        if self._escaped:
            self._escaped = False
            position += 1
        for found in _STRUCTURE.finditer(text, position):
            if self._ends_with(found.group()):
                return found.end()
        return None

    def _ends_with(self, mark: str) -> bool:
        if mark[0] == "\\":
            self._escaped = len(mark) == 1
            return False
        if mark == '"':
            self._in_string = not self._in_string
        elif not self._in_string:
            self._depth += 1 if mark in "{[" else -1
        return not self._in_string and self._depth == 0


def decode_string(literal: str) -> str | None:
    """The text of a JSON string literal, None if it is malformed; unpaired surrogates become U+FFFD."""
    try:
        text = cast("str", json.loads(literal, strict=False))
    except ValueError:
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def object_text(literal: str) -> str | None:
    """The JSON object inside a JSON string literal, as text; blank text is `{}`, anything else than an object None."""
    text = decode_string(literal)
    if text is None or not text.strip():
        return None if text is None else "{}"
    try:
        return text if isinstance(json.loads(text), dict) else None
    except (ValueError, RecursionError):
        return None


_STRING = frozenset({"string"})
# Qwen3-Coder's chat template renders scalars by Python's str(), so the model writes them that way too.
_PYTHON_SCALARS = {"True": "true", "False": "false", "None": "null"}


def typed_value(text: str, types: frozenset[str]) -> str:
    """The JSON text that a parameter's raw text stands for, given the JSON types it may have.

    A text that is no JSON of an allowed type stays a string where strings are allowed; where they are not, any JSON
    goes through as written and everything else becomes a string: the tool's caller validates.
    """
    if types == _STRING:
        return _quoted(text)
    literal = text.strip()
    if "string" not in types:
        literal = _PYTHON_SCALARS.get(literal, literal)
    try:
        value: Any = json.loads(literal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _quoted(text)
    if "string" in types and (isinstance(value, str) or type_name(value) not in types):
        return _quoted(text)
    return literal


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is Python's, not JSON's")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
