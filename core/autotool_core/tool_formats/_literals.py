"""Values that are written like JSON but for their strings and words, as JSON text."""

import json
import math
import re
from collections.abc import Callable
from typing import NoReturn

from autotool_core.parsing.json_text import typed_value

_STRING = frozenset({"string"})
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LEADING_ZEROS = re.compile(r"^(-?)0+(?=[0-9])")
_CONSTANTS = {"True": "true", "False": "false", "None": "null", **{name: name for name in ("true", "false", "null")}}
_BRACKETS = {"(": "[", ")": "]"}
"""Tuples are lists."""


def as_json(text: str, token: re.Pattern[str], string: Callable[[str], str], word: Callable[[str], str | None]) -> str | None:
    """Return a value as JSON text, or None if it is none.

    `token` matches whitespace, or a group `string`, `mark` (brackets, commas, colons), `key` (a key as it is) or `word`.
    `string` decodes the literal of a string, and `word` returns the JSON of anything else, None if it has none.
    """
    written: list[str] = []
    position = 0
    while position < len(text):
        match = token.match(text, position)
        if match is None:
            return None
        position = match.end()
        if match.lastgroup == "mark":
            _add_mark(written, match.group())
        elif match.lastgroup == "string":
            written.append(quoted(string(match.group())))
        elif match.lastgroup == "key":
            written.append(quoted(match.group().strip()))
        elif match.lastgroup == "word":
            written.append(word(match.group()) or "?")
    return _valid("".join(written))


def _add_mark(written: list[str], mark: str) -> None:
    mark = _BRACKETS.get(mark, mark)
    if mark in "]}" and written and written[-1] == ", ":
        written.pop()
    if mark == ":" and written and written[-1][0] != '"':
        written[-1] = quoted(written[-1])
    written.append(f"{mark} " if mark in ",:" else mark)


def _valid(text: str) -> str | None:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def scalar(word: str) -> str | None:
    """Return the JSON of a word that is a number or one of Python's or JSON's constants, else None."""
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    digits = _LEADING_ZEROS.sub(r"\1", word.replace("_", "").removeprefix("+"))
    if _NUMBER.fullmatch(digits):
        return digits
    try:
        number = float(digits)
    except ValueError:
        return None
    return json.dumps(number) if math.isfinite(number) else None


def typed(read: Callable[[str], str | None], raw: str, types: frozenset[str]) -> str:
    """Return the JSON text of a parameter's raw text, given the JSON types that the parameter may have.

    `read` returns the JSON of a literal, None for another text. What the schema calls a string stays one if it looks like a
    number, and where it allows no strings, the text in one is read once more: chat templates show models quotes around all.
    """
    literal = read(raw)
    if literal is not None and literal[0] == '"' and "string" not in types:
        raw = json.loads(literal)
        literal = read(raw)
    if literal is None:
        return typed_value(raw, types)
    is_plain = literal[0] not in '"[{' and literal != "null"
    return quoted(raw) if is_plain and types == _STRING else literal


def quoted(text: str) -> str:
    """Return a JSON string of this text."""
    return json.dumps(text, ensure_ascii=False)
