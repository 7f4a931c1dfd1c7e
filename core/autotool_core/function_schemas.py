"""Names and JSON schemas that every OpenAI-compatible server accepts, for functions as data sets describe them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_JSON_TYPES = {
    **dict.fromkeys(("string", "str", "enum", "text"), "string"),
    **dict.fromkeys(("integer", "int"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("object", "dict", "dictionary", "mapping"), "object"),
    **dict.fromkeys(("array", "list", "tuple", "set", "sequence"), "array"),
    **dict.fromkeys(("null", "none"), "null"),
}
"""The JSON schema type by the lower-case names that data sets use."""
_ARRAY_SUFFIX = "Array"


def plain_name(name: str) -> str:
    """Return a function's name as OpenAI allows it: at most 64 letters, digits, hyphens and underscores.

    An underscore replaces every other character.
    """
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]


def json_schema(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with JSON schema's type names, also in properties and items. Raises ValueError for an unknown type.

    Types may be written as in JSON schema, as in Python (`dict`, `List[int]`, `Optional[str]`) or as `str, optional`.
    """
    schema = _type_schema(raw["type"]) if "type" in raw else {}
    schema |= {key: value for key, value in raw.items() if key not in ("type", "required")}
    if isinstance(raw.get("properties"), Mapping):
        properties = cast("Mapping[str, Mapping[str, Any]]", raw["properties"])
        schema["properties"] = {name: json_schema(inner) for name, inner in properties.items()}
    if isinstance(raw.get("items"), Mapping):
        schema["items"] = json_schema(raw["items"])
    # Some data sets write a truth value into each property, which is no JSON schema.
    if isinstance(raw.get("required"), list):
        schema["required"] = raw["required"]
    if isinstance(raw.get("examples"), str):
        schema["examples"] = [raw["examples"]]
    return schema


def _type_schema(name: Any) -> dict[str, Any]:
    if isinstance(name, list):
        return {"type": [_type_schema(item)["type"] for item in cast("list[Any]", name)]}
    return _named_type_schema(re.sub(r",\s*optional$", "", str(name).strip()).replace("(", "[").replace(")", "]"))


def _named_type_schema(name: str) -> dict[str, Any]:
    """Return the schema of a type's name, such as `int`, `List[int]`, `Union[int, float]` or `objectArray`."""
    if name.endswith(_ARRAY_SUFFIX):
        return {"type": "array", "items": _named_type_schema(name.removesuffix(_ARRAY_SUFFIX))}
    outer, _, inner = name.removesuffix("]").partition("[")
    outer = outer.strip().lower()
    parts = (
        [_named_type_schema(part) for part in _split(inner)]
        if outer in ("optional", "union") or _JSON_TYPES.get(outer) == "array"
        else []
    )
    if outer == "any":
        return {}
    if outer in ("optional", "union"):
        return parts[0] if len(parts) == 1 else {"anyOf": parts}
    if outer not in _JSON_TYPES:
        raise ValueError(f"there is no type {name[:40]!r}")
    is_homogeneous = bool(parts) and all(part == parts[0] for part in parts)
    return {"type": _JSON_TYPES[outer]} | ({"items": parts[0]} if is_homogeneous else {})


def _split(names: str) -> Iterator[str]:
    """Yield the names between the commas outside of brackets."""
    depth, start = 0, 0
    for index, character in enumerate(names):
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            yield names[start:index].strip()
            start = index + 1
    if last := names[start:].strip():
        yield last
