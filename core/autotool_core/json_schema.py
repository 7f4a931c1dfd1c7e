"""Features of JSON Schema that a grammar cannot enforce.

Xgrammar ignores them, so a request that relies on them is refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

UNENFORCEABLE_KEYWORDS = {
    *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "multipleOf", "uniqueItems"),
    *("contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties"),
}
# Keywords whose value maps names to schemas: the names are not keywords.
SCHEMA_MAPS = {"properties", "patternProperties", "$defs", "definitions"}
# Keywords whose value is data and not a schema.
DATA_KEYWORDS = {"const", "enum", "default", "examples", "required"}
LOOKAROUND = re.compile(r"\(\?(=|!|<=|<!)")
# A grammar is made of one of these keywords alone, without other assertions of the same schema.
COMPOSITIONS = ("anyOf", "oneOf", "allOf", "$ref")
ASSERTIONS = {
    *COMPOSITIONS,
    *("type", "enum", "const", "properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    *("minProperties", "maxProperties", "items", "prefixItems", "minItems", "maxItems", "pattern", "minLength", "maxLength"),
    *("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
PATTERN_PIECE = re.compile(r"\\.|\[\^?|.", re.DOTALL)
ESCAPED_IN_JSON = {'"', r"\"", r"\\"}


def unenforceable(schema: Any) -> str | None:
    """Return the name of the first feature of a schema that no grammar enforces, or None if all of it is enforced."""
    if isinstance(schema, list):
        return next(filter(None, map(unenforceable, cast("list[Any]", schema))), None)
    if not isinstance(schema, dict):
        return None
    return next(_features(cast("dict[str, Any]", schema)), None)


def _features(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (keyword for keyword in schema if keyword in UNENFORCEABLE_KEYWORDS and schema[keyword] is not False)
    yield from _composition_features(schema)
    yield from _string_features(schema)
    if missing := {*map(str, _list(schema.get("required")))} - {*(schema.get("properties") or ())}:
        yield f"a required name that is not in properties ({min(missing)[:40]})"
    for keyword, value in schema.items():
        inner_schemas = (
            list(cast("dict[str, Any]", value).values()) if keyword in SCHEMA_MAPS and isinstance(value, dict) else value
        )
        if keyword not in DATA_KEYWORDS and (feature := unenforceable(inner_schemas)):
            yield feature


def _composition_features(schema: Mapping[str, Any]) -> Iterator[str]:
    if len(schema.get("allOf") or ()) > 1:
        yield "allOf of several schemas"
    if not str(schema.get("$ref", "#")).startswith("#"):
        yield "$ref to another document"
    for keyword in filter(schema.__contains__, COMPOSITIONS):
        if siblings := (schema.keys() & ASSERTIONS) - {keyword}:
            yield f"{min(siblings)} together with {keyword}"


def _string_features(schema: Mapping[str, Any]) -> Iterator[str]:
    for pattern in filter(None, (schema.get("pattern"), *(schema.get("patternProperties") or ()))):
        yield from _pattern_features(str(pattern))
    for keyword in ("pattern", "format"):
        if keyword in schema and ("minLength" in schema or "maxLength" in schema):
            yield f"{keyword} together with minLength or maxLength"


def _pattern_features(pattern: str) -> Iterator[str]:
    if LOOKAROUND.search(pattern):
        yield "a look-around in pattern"
    # A schema's pattern may match anywhere in the text, a grammar's pattern must match the whole text.
    if not _is_anchored(pattern):
        yield "a pattern that is not anchored by ^ and $"
    # The grammar writes the characters of a pattern into the JSON as they are, without the backslash that these need there.
    if any(piece in ESCAPED_IN_JSON for piece, within in _pieces(pattern) if within != "[^"):
        yield "a quote or a backslash in pattern"


def _is_anchored(pattern: str) -> bool:
    """Return whether the whole pattern, and not one of its alternatives alone, begins with ^ and ends with $."""
    outside = [piece for piece, within in _pieces(pattern) if not within]
    depth = 0
    for piece in outside:
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and depth == 0:
            return False
    return outside[:1] == ["^"] and outside[-1:] == ["$"]


def _pieces(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield each character (an escape together with the escaped one) and what opens the class around it: "", `[` or `[^`.

    The pattern is read in one pass, since clients may send patterns of any length.
    """
    within = ""
    for piece in PATTERN_PIECE.findall(pattern):
        yield piece, within
        if within:
            within = "" if piece == "]" else within
        elif piece.startswith("["):
            within = piece


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
