"""The JSON types that a tool's schema allows for a parameter."""

from collections.abc import Mapping
from typing import Any, cast

ALL_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})


def type_name(value: object) -> str:
    """Return JSON schema's name for the type of a decoded JSON value."""
    names: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


class ParameterTypes:
    """Reads the types out of a tool's `parameters`, a valid JSON schema of an object.

    `$ref` is followed inside the schema. If nothing restricts a parameter, every type is allowed.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._root = parameters
        # Each reference is read once because a client's schema may refer to itself in several places.
        self._references: dict[str, frozenset[str]] = {}

    def allowed(self, name: str) -> frozenset[str]:
        """Return the types that are allowed for a parameter: all if the schema does not know it."""
        properties = cast("Mapping[str, Any]", self._root.get("properties", {}))
        return self._types(properties.get(name))

    def _types(self, schema: Any) -> frozenset[str]:
        if not isinstance(schema, Mapping):
            return ALL_TYPES
        schema = cast("Mapping[str, Any]", schema)
        types = ALL_TYPES
        if "type" in schema:
            types &= _type_names(schema["type"])
        if "enum" in schema or "const" in schema:
            types &= {type_name(value) for value in schema.get("enum", [schema.get("const")])}
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                types &= frozenset[str]().union(*map(self._types, schema[keyword]))
        for part in schema.get("allOf", ()):
            types &= self._types(part)
        return types & self._referenced_types(schema["$ref"]) if "$ref" in schema else types

    def _referenced_types(self, reference: str) -> frozenset[str]:
        if reference not in self._references:
            self._references[reference] = ALL_TYPES
            self._references[reference] = self._types(self._resolve(reference))
        return self._references[reference]

    def _resolve(self, reference: str) -> Any:
        target: Any = self._root
        for key in reference.removeprefix("#/").split("/"):
            if not isinstance(target, Mapping):
                return None
            target = cast("Mapping[str, Any]", target).get(key)
        return target


def _type_names(names: str | list[str]) -> frozenset[str]:
    types = frozenset([names] if isinstance(names, str) else names)
    return types | {"integer"} if "number" in types else types
