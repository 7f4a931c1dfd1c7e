"""JSON inside model text: the end of a value that arrives in pieces, and the JSON value of a parameter's text."""

import json
import re
from typing import Any, NoReturn, cast

from autotool_core.parsing.schema_types import type_name

_STRUCTURE = re.compile(r'\\.|["{}\[\]\\]', re.DOTALL)
PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
HALF_PAIR = r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
"""Patterns of the escapes of a surrogate pair, and of one half."""
REPLACEMENT = r"\ufffd"
_ESCAPES = re.compile(rf"{PAIR}|({HALF_PAIR})|\\.", re.DOTALL)
_SCALAR_END = re.compile(r"[ \t\r\n,}\]<]")


class ValueScanner:
    """Finds the end of one JSON value by its brackets and strings alone; it does not validate."""

    def __init__(self, first: str) -> None:
        self._scalar = first not in '"{['
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def scan(self, text: str, position: int) -> int | None:
        """Read on from `position`; return the position behind the value's end, or None if the value goes on.

        The position of the first call is that of the value's first character.
        """
        if self._scalar:
            end = _SCALAR_END.search(text, position)
            return end.start() if end else None
        if self._escaped:
            self._escaped = False
            position += 1
        for match in _STRUCTURE.finditer(text, position):
            if self._closes_value(match.group()):
                return match.end()
        return None

    def _closes_value(self, mark: str) -> bool:
        if mark[0] == "\\":
            self._escaped = len(mark) == 1
            return False
        if mark == '"':
            self._in_string = not self._in_string
        elif not self._in_string:
            self._depth += 1 if mark in "{[" else -1
        return not self._in_string and self._depth == 0


def decode_string(literal: str) -> str | None:
    """Return the text of a JSON string literal, or None if it is malformed; unpaired surrogates become U+FFFD."""
    try:
        text = cast("str", json.loads(literal, strict=False))
    except ValueError:
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_STRING = frozenset({"string"})
# Qwen3-Coder's chat template renders scalars by Python's str(), so the model writes them that way too.
_PYTHON_SCALARS = {"True": "true", "False": "false", "None": "null"}


def typed_value(text: str, types: frozenset[str]) -> str:
    """Return the JSON text of a parameter's raw text, given the JSON types that the parameter may have.

    A text that is no JSON of an allowed type stays a string if strings are allowed; if they are not, any JSON is
    returned as written and everything else becomes a string: the tool's caller validates.
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
    return _ESCAPES.sub(lambda escape: REPLACEMENT if escape[1] else escape[0], literal)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
