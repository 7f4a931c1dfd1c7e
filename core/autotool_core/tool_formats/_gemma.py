"""Calls of the Gemma models that were trained on tools: `call:NAME{key:DtextD,n:5,o:{k:[true,null]}}` between two markers.

D is a delimiter without escapes; a text that holds it cannot be written. Numbers, `true`, `false` and `null` stand without
it, keys too unless they have other characters than words have. Keys are sorted, as the chat templates write them. The rules
of a call are those of `_arguments`, and a value without delimiters that is none of those is a string of its text.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from autotool_core.tool_formats import _arguments_tag as arguments_tag
from autotool_core.tool_formats._arguments import ArgumentsBody, DelimitedEnd, Syntax
from autotool_core.tool_formats._literals import as_json, quoted, scalar, typed
from autotool_core.tool_formats.base import Tag, ToolFormat, json_tag

_CALL = "call:"
_PLAIN_KEY = re.compile(r"[^\W\d][\w.\-]*")
_REFERENCE = re.compile(r"#/(\$defs|definitions)/([^/]+)")
_MOST_VALUES = 2000
"""How many values a grammar describes at most: references to references can be a great many."""
_SCALARS = ("integer", "number", "boolean", "null")
_UNHELD = {
    "string": ("pattern", "format", "minLength", "maxLength"),
    "array": ("prefixItems",),
    "object": ("patternProperties", "propertyNames", "minProperties", "maxProperties"),
}
"""The assertions of each type that the grammar does not hold."""
_TYPED = ("items", "minItems", "maxItems", "properties", "required", "additionalProperties")
"""Assertions that it holds together with a type."""


class _UnheldError(Exception):
    """A feature of a schema, whose name is the message, is none that this grammar holds."""


@dataclass(frozen=True)
class GemmaFormat(ToolFormat):
    """Keys and values in braces."""

    delimiter: str = field(kw_only=True)

    def call_body(self, index: int, parameters: Mapping[str, Mapping[str, Any]], opener: str) -> ArgumentsBody:
        syntax = Syntax("{", ":", "}", self._key, lambda: DelimitedEnd(self.delimiter), self._value, self.close)
        return ArgumentsBody(syntax, index, parameters, before=(_CALL,))

    def call_tag(self, name: str, parameters: Mapping[str, Any]) -> Tag:
        content = _Values(self.delimiter, parameters).members(parameters)
        return {"type": "tag", "begin": f"{self.openers[0]}{_CALL}{name}{{", "content": content, "end": f"}}{self.close}"}

    def unenforceable(self, parameters: Mapping[str, Any]) -> str | None:
        try:
            _Values(self.delimiter, parameters, strict=True).members(parameters)
        except _UnheldError as error:
            return str(error)
        return arguments_tag.unknown_keyword(parameters)

    def render(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"{self.openers[0]}{_CALL}{name}{_literal(dict(arguments), self.delimiter)}{self.close}"

    def matches(self, chat_template: str) -> bool:
        return self.openers[0] in chat_template

    def _key(self, text: str) -> str:
        return text.removeprefix(self.delimiter).removesuffix(self.delimiter)

    def _value(self, text: str, types: frozenset[str]) -> str:
        delimiter = re.escape(self.delimiter)
        word = rf"(?:(?!{delimiter})[^\[\]{{}},:])+"
        string, mark = rf"(?P<string>{delimiter}.*?{delimiter})", r"(?P<mark>[\[\]{},:])"
        token = re.compile(rf"\s+|{string}|{mark}|(?P<key>{word}(?=:))|(?P<word>{word})", re.DOTALL)
        return typed(lambda literal: as_json(literal, token, self._decoded, _word), text, types)

    def _decoded(self, literal: str) -> str:
        return literal[len(self.delimiter) : -len(self.delimiter)]


def _word(text: str) -> str:
    return scalar(text.strip()) or quoted(text.strip())


def _literal(value: Any, delimiter: str) -> str:
    """Return a value as the chat templates write it."""
    if isinstance(value, str):
        return f"{delimiter}{value}{delimiter}"
    if isinstance(value, Mapping):
        pairs = _sorted(cast("Mapping[str, Any]", value).items())
        return f"{{{','.join(f'{_key_text(key, delimiter)}:{_literal(inner, delimiter)}' for key, inner in pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(_literal(inner, delimiter) for inner in cast('list[Any]', value))}]"
    return json.dumps(value)


def _key_text(key: str, delimiter: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else f"{delimiter}{key}{delimiter}"


def _sorted(items: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return pairs in the order of Jinja's `dictsort`."""
    return sorted(items, key=lambda pair: pair[0].lower())


class _Values:
    """The grammars of values by their schemas.

    `strict`: whether a feature that they do not hold raises _UnheldError; otherwise it leaves the value free.
    """

    def __init__(self, delimiter: str, root: Mapping[str, Any], *, strict: bool = False) -> None:
        self._delimiter = delimiter
        self._root = root
        self._strict = strict
        self._references: list[str] = []
        self._count = 0
        self._any = {"type": "grammar", "grammar": _any_value(delimiter)}

    def members(self, schema: Mapping[str, Any]) -> Tag:
        """Return the grammar of an object's members."""
        properties = dict(_sorted(cast("Mapping[str, Any]", schema.get("properties") or {}).items()))
        described = {**schema, "properties": properties} if "properties" in schema else schema
        return arguments_tag.members(described, ",", self._member, self._other)

    def _member(self, key: str, schema: Any) -> Tag:
        return arguments_tag.sequence(arguments_tag.text_tag(f"{_key_text(key, self._delimiter)}:"), self._value(schema))

    def _other(self, schema: Any) -> Tag:
        return arguments_tag.sequence({"type": "regex", "pattern": "[A-Za-z_][A-Za-z0-9_]*:"}, self._value(schema))

    def _value(self, schema: Any) -> Tag:
        if not isinstance(schema, Mapping):
            return self._any
        self._count += 1
        try:
            return self._held(cast("Mapping[str, Any]", schema))
        except _UnheldError:
            if self._strict:
                raise
            return self._any

    def _held(self, schema: Mapping[str, Any]) -> Tag:
        if self._count > _MOST_VALUES:
            raise _UnheldError(f"more than {_MOST_VALUES} values")
        if "$ref" in schema:
            return self._referenced(str(schema["$ref"]))
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                return arguments_tag.any_of([self._value(inner) for inner in schema[keyword]])
        if "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            return arguments_tag.any_of([arguments_tag.text_tag(_literal(value, self._delimiter)) for value in values])
        names = schema.get("type")
        if names is None:
            return self._untyped(schema)
        return arguments_tag.any_of([self._typed(name, schema) for name in ([names] if isinstance(names, str) else names)])

    def _untyped(self, schema: Mapping[str, Any]) -> Tag:
        asserting = (*_TYPED, *chain(*_UNHELD.values()))
        if keyword := next(filter(schema.__contains__, asserting), None):
            raise _UnheldError(f"{keyword} without type")
        return self._any

    def _referenced(self, reference: str) -> Tag:
        match = _REFERENCE.fullmatch(reference)
        if match is None or reference in self._references:
            raise _UnheldError("a recursive $ref" if match else "$ref to something else than a definition")
        self._references.append(reference)
        tag = self._value(self._root.get(match[1], {}).get(match[2], True))
        self._references.pop()
        return tag

    def _typed(self, name: str, schema: Mapping[str, Any]) -> Tag:
        if name in _SCALARS:
            return json_tag({**schema, "type": name})
        if unheld := next(filter(schema.__contains__, _UNHELD[name]), None):
            raise _UnheldError(unheld)
        if name == "array":
            items, least, most = schema.get("items", True), int(schema.get("minItems", 0)), int(schema.get("maxItems", -1))
            is_empty = items is False or most == 0
            several = arguments_tag.repeated(self._value(items), ",", least, most)
            return _between("[", arguments_tag.text_tag("") if is_empty else several, "]")
        if name == "object":
            return _between("{", self.members(schema), "}")
        return {"type": "tag", "begin": self._delimiter, "content": {"type": "any_text"}, "end": self._delimiter}


def _between(opening: str, content: Tag, closing: str) -> Tag:
    return arguments_tag.sequence(arguments_tag.text_tag(opening), content, arguments_tag.text_tag(closing))


def _any_value(delimiter: str) -> str:
    """Return the EBNF grammar of any value."""
    rules = [
        "root ::= value",
        'value ::= string | number | "true" | "false" | "null" | "[" (value ("," value)*)? "]" | "{" (pair ("," pair)*)? "}"',
        'pair ::= ([A-Za-z_] [A-Za-z0-9_]* | string) ":" value',
        'number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [+-]? [0-9]+)?',
        f"string ::= {json.dumps(delimiter)} text0",
        *_text_rules(delimiter),
    ]
    return "\n".join(rules)


def _text_rules(delimiter: str) -> Iterator[str]:
    """Yield the rules of a text that ends with the delimiter: `textN` stands behind its first N characters."""
    first = delimiter[0]
    for position, char in enumerate(delimiter):
        going_on = f"text{position + 1}" if position + 1 < len(delimiter) else '""'
        again = f' | "{first}" text1' if position else ""
        yield f"text{position} ::= {json.dumps(char)} {going_on}{again} | [^{_in_class({first, char})}] text0"


def _in_class(chars: set[str]) -> str:
    return "".join(f"\\{char}" if char in "\\]^-" else char for char in sorted(chars))
