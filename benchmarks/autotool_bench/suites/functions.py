"""Functions as data sets describe them, made tools that every OpenAI-compatible server accepts."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autotool_bench.suites.base import Tool

JSON_TYPES = {
    **dict.fromkeys(("string", "str", "enum"), "string"),
    **dict.fromkeys(("integer", "int"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("object", "dict"), "object"),
    **dict.fromkeys(("array", "list", "tuple"), "array"),
    "null": "null",
}
"""What data sets call a type, and what JSON schema does."""
ARRAY = re.compile(r"(?:list|array|tuple)[(\[](.+)[)\]]")


def plain_name(name: str) -> str:
    """A function's name as OpenAI allows it: at most 64 letters, digits, hyphens and underscores, which replace the rest."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]


def tools(functions: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Tool]:
    """Tools of functions (name, description, schema). Raises ValueError for an unknown type or a name twice."""
    names = [plain_name(name) for name, _, _ in functions]
    if len(set(names)) < len(names):
        raise ValueError("two functions have the same name")
    return [
        {"type": "function", "function": {"name": name, "description": text, "parameters": _arguments(schema)}}
        for name, (_, text, schema) in zip(names, functions, strict=True)
    ]


def json_schema(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in JSON's own type names, properties and items included. Raises ValueError for an unknown type."""
    schema = _json_type(raw.get("type", "any")) | {key: value for key, value in raw.items() if key not in ("type", "required")}
    if "properties" in raw:
        schema["properties"] = {name: json_schema(inner) for name, inner in raw["properties"].items()}
    if isinstance(raw.get("items"), Mapping):
        schema["items"] = json_schema(raw["items"])
    # Some data sets write a truth value beside each property, which is no JSON schema.
    if isinstance(raw.get("required"), list):
        schema["required"] = raw["required"]
    if isinstance(raw.get("examples"), str):
        schema["examples"] = [raw["examples"]]
    return schema


def _arguments(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {}} | json_schema(raw)


def _json_type(name: Any) -> dict[str, Any]:
    if isinstance(name, list):
        return {"type": [_json_type(one)["type"] for one in name]}
    if name == "any":
        return {}
    if name == "objectArray":
        name = "list(object)"
    if array := ARRAY.fullmatch(str(name)):
        return {"type": "array", "items": _json_type(array[1])}
    if name not in JSON_TYPES:
        raise ValueError(f"there is no type {str(name)[:40]!r}")
    return {"type": JSON_TYPES[name]}
