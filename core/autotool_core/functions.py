"""Functions as data sets describe them, brought to what every OpenAI-compatible server accepts: plain names, JSON schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_NAMES = {
    **dict.fromkeys(("string", "str", "enum", "text"), "string"),
    **dict.fromkeys(("integer", "int"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("object", "dict", "dictionary", "mapping"), "object"),
    **dict.fromkeys(("array", "list", "tuple", "set", "sequence"), "array"),
    **dict.fromkeys(("null", "none"), "null"),
}
"""What data sets call a type, in lower case, and what JSON schema does."""
_ARRAY_SUFFIX = "Array"


def plain_name(name: str) -> str:
    """A function's name as OpenAI allows it: at most 64 letters, digits, hyphens and underscores, which replace the rest."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]


def json_schema(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in JSON's own type names, properties and items included. Raises ValueError for an unknown type.

    Types may be written as in JSON schema, as in Python (`dict`, `List[int]`, `Optional[str]`) or as `str, optional`.
    """
    schema = _of_type(raw["type"]) if "type" in raw else {}
    schema |= {key: value for key, value in raw.items() if key not in ("type", "required")}
    if isinstance(raw.get("properties"), Mapping):
        properties = cast("Mapping[str, Mapping[str, Any]]", raw["properties"])
        schema["properties"] = {name: json_schema(inner) for name, inner in properties.items()}
    if isinstance(raw.get("items"), Mapping):
        schema["items"] = json_schema(raw["items"])
    # Some data sets write a truth value beside each property, which is no JSON schema.
    if isinstance(raw.get("required"), list):
        schema["required"] = raw["required"]
    if isinstance(raw.get("examples"), str):
        schema["examples"] = [raw["examples"]]
    return schema


def _of_type(name: Any) -> dict[str, Any]:
    if isinstance(name, list):
        return {"type": [_of_type(one)["type"] for one in cast("list[Any]", name)]}
    return _of_name(re.sub(r",\s*optional$", "", str(name).strip()).replace("(", "[").replace(")", "]"))


def _of_name(name: str) -> dict[str, Any]:
    """The schema of a type's name, such as `int`, `List[int]`, `Union[int, float]` or `objectArray`."""
    if name.endswith(_ARRAY_SUFFIX):
        return {"type": "array", "items": _of_name(name.removesuffix(_ARRAY_SUFFIX))}
    outer, _, inner = name.removesuffix("]").partition("[")
    outer = outer.strip().lower()
    parts = [_of_name(part) for part in _split(inner)] if outer in ("optional", "union") or _NAMES.get(outer) == "array" else []
    if outer == "any":
        return {}
    if outer in ("optional", "union"):
        return parts[0] if len(parts) == 1 else {"anyOf": parts}
    if outer not in _NAMES:
        raise ValueError(f"there is no type {name[:40]!r}")
    alike = bool(parts) and all(part == parts[0] for part in parts)
    return {"type": _NAMES[outer]} | ({"items": parts[0]} if alike else {})


def _split(names: str) -> Iterator[str]:
    """The names between commas that stand outside of brackets."""
    depth, start = 0, 0
    for at, character in enumerate(names):
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            yield names[start:at].strip()
            start = at + 1
    if last := names[start:].strip():
        yield last
