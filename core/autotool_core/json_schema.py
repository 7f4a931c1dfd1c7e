"""What of JSON Schema a grammar cannot enforce: xgrammar passes over it, so a request that relies on it is refused."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

UNENFORCEABLE = {
    *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "multipleOf", "uniqueItems"),
    *("contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties"),
}
# Keywords whose value maps names to schemas: the names are not keywords.
MAPS = {"properties", "patternProperties", "$defs", "definitions"}
# Keywords whose value is data and not a schema.
DATA = {"const", "enum", "default", "examples", "required"}
LOOKAROUND = re.compile(r"\(\?(=|!|<=|<!)")
# A grammar is made of one of these and of nothing beside it.
COMPOSED = ("anyOf", "oneOf", "allOf", "$ref")
ASSERTIONS = {
    *COMPOSED,
    *("type", "enum", "const", "properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    *("minProperties", "maxProperties", "items", "prefixItems", "minItems", "maxItems", "pattern", "minLength", "maxLength"),
    *("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
PIECE = re.compile(r"\\.|\[\^?|.", re.DOTALL)
QUOTED = {'"', r"\"", r"\\"}


def unenforceable(schema: Any) -> str | None:
    """The first feature of a schema that no grammar of ours enforces, by name; None where all of it is enforced."""
    if isinstance(schema, list):
        return next(filter(None, map(unenforceable, cast("list[Any]", schema))), None)
    if not isinstance(schema, dict):
        return None
    return next(_features(cast("dict[str, Any]", schema)), None)


def _features(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (keyword for keyword in schema if keyword in UNENFORCEABLE and schema[keyword] is not False)
    yield from _of_composition(schema)
    yield from _of_text(schema)
    if missing := {*map(str, _list(schema.get("required")))} - {*(schema.get("properties") or ())}:
        yield f"a required name that is not in properties ({min(missing)[:40]})"
    for keyword, value in schema.items():
        parts = list(cast("dict[str, Any]", value).values()) if keyword in MAPS and isinstance(value, dict) else value
        if keyword not in DATA and (inner := unenforceable(parts)):
            yield inner


def _of_composition(schema: Mapping[str, Any]) -> Iterator[str]:
    if len(schema.get("allOf") or ()) > 1:
        yield "allOf of several schemas"
    if not str(schema.get("$ref", "#")).startswith("#"):
        yield "$ref to another document"
    for keyword in filter(schema.__contains__, COMPOSED):
        if beside := (schema.keys() & ASSERTIONS) - {keyword}:
            yield f"{min(beside)} beside {keyword}"


def _of_text(schema: Mapping[str, Any]) -> Iterator[str]:
    for pattern in filter(None, (schema.get("pattern"), *(schema.get("patternProperties") or ()))):
        yield from _of_pattern(str(pattern))
    for keyword in ("pattern", "format"):
        if keyword in schema and ("minLength" in schema or "maxLength" in schema):
            yield f"{keyword} beside minLength or maxLength"


def _of_pattern(pattern: str) -> Iterator[str]:
    if LOOKAROUND.search(pattern):
        yield "a look-around in pattern"
    # A schema's pattern is searched for anywhere in the text, a grammar's is the whole text.
    if not _is_anchored(pattern):
        yield "a pattern that is not anchored by ^ and $"
    # What a pattern spells out stands in the JSON as it is, without the backslash that these need there.
    if any(piece in QUOTED for piece, within in _pieces(pattern) if within != "[^"):
        yield "a quote or a backslash in pattern"


def _is_anchored(pattern: str) -> bool:
    """Whether the whole pattern, and not one of its alternatives alone, begins with ^ and ends with $."""
    outside = [piece for piece, within in _pieces(pattern) if not within]
    depth = 0
    for piece in outside:
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and depth == 0:
            return False
    return outside[:1] == ["^"] and outside[-1:] == ["$"]


def _pieces(pattern: str) -> Iterator[tuple[str, str]]:
    """Each character, an escape with what it escapes, and the kind of class that it stands in: none, `[` or `[^`.

    In one pass, since a pattern is as long as its sender likes.
    """
    within = ""
    for piece in PIECE.findall(pattern):
        yield piece, within
        if within:
            within = "" if piece == "]" else within
        elif piece.startswith("["):
            within = piece


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
