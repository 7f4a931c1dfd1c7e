"""Convert schemas of an OpenAPI document to self-contained JSON schemas, with referenced schemas in `$defs`."""

import re
from collections.abc import Mapping
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_core.json_schema import DATA_KEYWORDS, SCHEMA_MAPS

# Keywords without a meaning in a JSON schema of arguments, and `$defs`, whose schemas are collected by reference.
_DROPPED = {"discriminator", "xml", "externalDocs", "example", "examples", "nullable", "$defs", "$id", "$schema"}


class Document:
    """An OpenAPI document that resolves its own references. `label` names its entry in errors."""

    def __init__(self, content: Mapping[str, Any], label: str) -> None:
        self.content = content
        self.label = label
        self.is_3_0 = str(content["openapi"]).startswith("3.0")

    def follow(self, node: Any) -> Any:
        """Return the node, or the node that it refers to. Raises AutoToolError for a broken or circular reference."""
        seen = set[str]()
        while isinstance(node, Mapping) and isinstance(reference := node.get("$ref"), str):
            if reference in seen:
                raise AutoToolError(f"{self.label}: the reference {reference} leads back to itself.")
            seen.add(reference)
            node = self.lookup(reference)
        return node

    def lookup(self, reference: str) -> Any:
        """Return the node at a reference such as `#/components/schemas/Pet`. Raises AutoToolError if there is none."""
        if not reference.startswith("#/"):
            raise AutoToolError(f"{self.label}: {reference} is outside the document. Bundle it into one document first.")
        node: Any = self.content
        try:
            for part in reference[2:].split("/"):
                key = part.replace("~1", "/").replace("~0", "~")
                node = node[int(key)] if isinstance(node, list) else node[key]
        except (LookupError, TypeError, ValueError):
            raise AutoToolError(f"{self.label}: the document holds nothing at {reference}.") from None
        return node


class Schemas:
    """Converts the schemas of one operation and collects the schemas that they refer to."""

    def __init__(self, document: Document) -> None:
        self.definitions: dict[str, Any] = {}
        self._document = document
        self._names: dict[str, str] = {}

    def convert(self, schema: Any) -> Any:
        """Return the schema with references into `$defs`, and keywords of OpenAPI 3.0 as those of JSON Schema."""
        if isinstance(schema, list):
            return [self.convert(item) for item in schema]
        if not isinstance(schema, Mapping):
            return schema
        schema = _for_requests(schema)
        if not isinstance(schema.get("$ref"), str):
            plain = {key: self._keyword(key, value) for key, value in schema.items() if not _is_dropped(key)}
            return _from_3_0(plain, schema) if self._document.is_3_0 else plain
        reference = {"$ref": f"#/$defs/{self._define(schema['$ref'])}"}
        if self._document.is_3_0:  # 3.0 ignores all keywords next to a reference
            return reference
        return {key: self._keyword(key, value) for key, value in schema.items() if not _is_dropped(key)} | reference

    def _keyword(self, key: str, value: Any) -> Any:
        if key in DATA_KEYWORDS:
            return value
        if key in SCHEMA_MAPS and isinstance(value, Mapping):
            return {name: self.convert(inner) for name, inner in value.items()}
        return self.convert(value)

    def _define(self, reference: str) -> str:
        """Return the name in `$defs` of a referenced schema. It is set before the conversion: the schema may be recursive."""
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
    """Return the schema without the properties that only a response has."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    kept = {name: inner for name, inner in properties.items() if not (isinstance(inner, Mapping) and inner.get("readOnly"))}
    required = [name for name in schema.get("required", []) if name in kept or name not in properties]
    return {**schema, "properties": kept} | ({"required": required} if "required" in schema else {})


def _from_3_0(plain: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Convert `nullable` and exclusive bounds of OpenAPI 3.0 to JSON Schema."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(is_exclusive := plain.get(exclusive), bool):
            del plain[exclusive]
            if is_exclusive and bound in plain:
                plain[exclusive] = plain.pop(bound)
    if schema.get("nullable") is not True:
        return plain
    return {"anyOf": [plain, {"type": "null"}]}
