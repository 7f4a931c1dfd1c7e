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


def unenforceable(schema: Any) -> str | None:
    """The first feature of a schema that no grammar of ours enforces, by name; None where all of it is enforced."""
    if isinstance(schema, list):
        return next(filter(None, map(unenforceable, cast("list[Any]", schema))), None)
    if not isinstance(schema, dict):
        return None
    return next(_features(cast("dict[str, Any]", schema)), None)


def _features(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (keyword for keyword in schema if keyword in UNENFORCEABLE and schema[keyword] is not False)
    if len(schema.get("allOf") or ()) > 1:
        yield "allOf of several schemas"
    if LOOKAROUND.search(str(schema.get("pattern", ""))):
        yield "a look-around in pattern"
    if "pattern" in schema and ("minLength" in schema or "maxLength" in schema):
        yield "pattern beside minLength or maxLength"
    if not str(schema.get("$ref", "#")).startswith("#"):
        yield "$ref to another document"
    for keyword, value in schema.items():
        parts = list(cast("dict[str, Any]", value).values()) if keyword in MAPS and isinstance(value, dict) else value
        if keyword not in DATA and (inner := unenforceable(parts)):
            yield inner
