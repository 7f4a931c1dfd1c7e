"""Schemas of an OpenAPI document as JSON schemas that stand alone: what they refer to moves into `$defs`, cycles included."""

import re
from collections.abc import Mapping
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_core.json_schema import DATA_KEYWORDS, SCHEMA_MAPS

# What means nothing to a JSON schema, or (`$defs`) is found through the references to it.
_DROPPED = {"discriminator", "xml", "externalDocs", "example", "examples", "nullable", "$defs", "$id", "$schema"}


class Document:
    """An OpenAPI document, its references followed within it. `where` names its entry in errors."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content = content
        self.where = where
        self.is_3_0 = str(content["openapi"]).startswith("3.0")

    def follow(self, node: Any) -> Any:
        """The node itself, or what it refers to. Raises AutoToolError for a reference that leads nowhere or in a circle."""
        seen = set[str]()
        while isinstance(node, Mapping) and isinstance(reference := node.get("$ref"), str):
            if reference in seen:
                raise AutoToolError(f"{self.where}: the reference {reference} leads back to itself.")
            seen.add(reference)
            node = self.lookup(reference)
        return node

    def lookup(self, reference: str) -> Any:
        """What a reference (`#/components/schemas/Pet`) points at."""
        if not reference.startswith("#/"):
            raise AutoToolError(f"{self.where}: {reference} is outside the document. Bundle it into one document first.")
        node: Any = self.content
        try:
            for part in reference[2:].split("/"):
                key = part.replace("~1", "/").replace("~0", "~")
                node = node[int(key)] if isinstance(node, list) else node[key]
        except (LookupError, TypeError, ValueError):
            raise AutoToolError(f"{self.where}: the document holds nothing at {reference}.") from None
        return node


class Schemas:
    """Converts schemas of one operation and collects what they refer to."""

    def __init__(self, document: Document) -> None:
        self.definitions: dict[str, Any] = {}
        self._document = document
        self._names: dict[str, str] = {}

    def convert(self, schema: Any) -> Any:
        """The schema with references into `$defs`, and in the words of JSON Schema where it is one of OpenAPI 3.0."""
        if isinstance(schema, list):
            return [self.convert(item) for item in schema]
        if not isinstance(schema, Mapping):
            return schema
        schema = _for_requests(schema)
        if not isinstance(schema.get("$ref"), str):
            plain = {key: self._keyword(key, value) for key, value in schema.items() if not _is_dropped(key)}
            return _from_3_0(plain, schema) if self._document.is_3_0 else plain
        reference = {"$ref": f"#/$defs/{self._define(schema['$ref'])}"}
        if self._document.is_3_0:  # where nothing beside a reference counts
            return reference
        return {key: self._keyword(key, value) for key, value in schema.items() if not _is_dropped(key)} | reference

    def _keyword(self, key: str, value: Any) -> Any:
        if key in DATA_KEYWORDS:
            return value
        if key in SCHEMA_MAPS and isinstance(value, Mapping):
            return {name: self.convert(inner) for name, inner in value.items()}
        return self.convert(value)

    def _define(self, reference: str) -> str:
        """The name in `$defs` of what is referred to; known before it is converted, for it may refer to itself."""
        if reference not in self._names:
            name = re.sub(r"[^a-zA-Z0-9_.-]", "_", reference.rsplit("/", 1)[-1])
            while name in self.definitions:
                name += "_"
            self._names[reference] = name
            self.definitions[name] = {}
            self.definitions[name] = self.convert(self._document.lookup(reference))
        return self._names[reference]


def _is_dropped(key: str) -> bool:
    return key in _DROPPED or key.startswith("x-")


def _for_requests(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the properties that only a response has."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    left = {name: inner for name, inner in properties.items() if not (isinstance(inner, Mapping) and inner.get("readOnly"))}
    required = [name for name in schema.get("required", []) if name in left or name not in properties]
    return {**schema, "properties": left} | ({"required": required} if "required" in schema else {})


def _from_3_0(plain: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """`nullable` and exclusive bounds, which 3.0 writes in its own way."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(is_exclusive := plain.get(exclusive), bool):
            del plain[exclusive]
            if is_exclusive and bound in plain:
                plain[exclusive] = plain.pop(bound)
    if schema.get("nullable") is not True:
        return plain
    return {"anyOf": [plain, {"type": "null"}]}
