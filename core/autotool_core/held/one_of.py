"""Whether the schemas of `oneOf` exclude each other: then a grammar may offer them as those of `anyOf`."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, cast

from autotool_core.held.references import References
from autotool_core.held.values import TYPES, is_same, type_names

Schema = Mapping[str, Any]
DEPTH = 8
"""How many references and properties are followed, one inside the other; deeper schemas count as overlapping."""


def exclude_each_other(schemas: list[Any], references: References) -> bool:
    """Return whether no value can have two of these schemas."""
    return all(_differ(one, other, references, DEPTH) for one, other in combinations(schemas, 2))


def _differ(one: Any, other: Any, references: References, depth: int) -> bool:
    one, other = _resolved(one, references, depth), _resolved(other, references, depth)
    if one is False or other is False:
        return True
    if not depth or not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    left, right = cast("Schema", one), cast("Schema", other)
    for schema, opposite in ((left, right), (right, left)):
        if options := schema.get("anyOf", schema.get("oneOf")):
            return all(_differ(option, opposite, references, depth - 1) for option in options)
    if not _types(left) & _types(right):
        return True
    if (mine := _values(left)) is not None and (yours := _values(right)) is not None:
        return not any(is_same(value, known) for value in mine for known in yours)
    return _types(left) == _types(right) == {"object"} and _properties_differ(left, right, references, depth)


def _properties_differ(one: Schema, other: Schema, references: References, depth: int) -> bool:
    for schema, opposite in ((one, other), (other, one)):
        mine, yours = schema.get("properties", {}), opposite.get("properties", {})
        for name in schema.get("required", ()):
            if name not in yours and opposite.get("additionalProperties") is False and "patternProperties" not in opposite:
                return True
            both = name in mine and name in yours and name in opposite.get("required", ())
            if both and _differ(mine[name], yours[name], references, depth - 1):
                return True
    return False


def _resolved(schema: Any, references: References, depth: int) -> Any:
    known = cast("Schema | bool", schema)
    while depth and isinstance(known, Mapping):
        if "$ref" in known:
            known = cast("Schema | bool", references.target(str(known["$ref"])))
        elif len(known.get("allOf", ())) == 1:
            known = cast("Schema | bool", known["allOf"][0])
        else:
            break
        depth -= 1
    return known


def _types(schema: Schema) -> set[str]:
    if (values := _values(schema)) is not None:
        return {type_names(value)[0] for value in values}
    types = schema.get("type", list(TYPES))
    names = cast("list[str]", types) if isinstance(types, list) else [str(types)]
    return {"number" if name == "integer" else name for name in names}


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")
