"""The JSON types that a tool's schema allows for a parameter."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast
from urllib.parse import unquote

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from autotool_core.held.values import CHECKS, NUMBER_KEYWORDS, is_same, type_names

ALL_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
_STRING_KEYWORDS = ("pattern", "minLength", "maxLength", "format", "contentEncoding", "contentMediaType")
_NUMBER_KEYWORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_OBJECT_KEYWORDS = (
    *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    *("minProperties", "maxProperties"),
)
_ARRAY_KEYWORDS = ("items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems")
_IMPLIED = {
    **dict.fromkeys(_STRING_KEYWORDS, frozenset({"string"})),
    **dict.fromkeys(_NUMBER_KEYWORDS, frozenset({"integer", "number"})),
    **dict.fromkeys(_OBJECT_KEYWORDS, frozenset({"object"})),
    **dict.fromkeys(_ARRAY_KEYWORDS, frozenset({"array"})),
}
_NUMBER_FORMATS = {
    **dict.fromkeys(("int32", "int64"), frozenset({"integer"})),
    **dict.fromkeys(("float", "double"), frozenset({"integer", "number"})),
}
"""OpenAPI's formats of numbers: https://spec.openapis.org/registry/format/"""


def type_name(value: object) -> str:
    """Return JSON schema's name for the type of a decoded JSON value."""
    names: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


class ParameterTypes:
    """Reads the types out of a tool's `parameters`, a valid JSON schema of an object.

    References are followed inside the schema. A schema without `type` has the types that its other keywords speak of, so
    `{"pattern": "^[0-9]+$"}` is a string. If nothing restricts a parameter, every type is allowed.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._root = parameters
        # Each reference is read once because a client's schema may refer to itself in several places.
        self._references: dict[str, frozenset[str]] = {}
        self._described: dict[tuple[str, str], frozenset[str] | None] = {}
        self._anchors: dict[str, Any] | None = None

    def allowed(self, name: str) -> frozenset[str]:
        """Return the types that are allowed for a parameter: all if the schema does not know it."""
        types = self._property(self._root, name)
        return ALL_TYPES if types is None else types

    def of_text(self, name: str, text: str) -> frozenset[str]:
        """Return the types that are allowed for a parameter of this text, which may spell a value of another type.

        That is a string alone where the schema takes the text but not that value: of `{"enum": ["5", 6]}`, `5` is the string.
        """
        types = self.allowed(name)
        if "string" not in types or len(types) == 1:
            return types
        schemas = [*self._schemas(self._root, name, set())]
        try:
            readings = (json.loads(text), text)
            takes_value, takes_text = (all(self._takes(schema, one, {}) for schema in schemas) for one in readings)
        except (ValueError, RecursionError):
            return types
        return frozenset({"string"}) if takes_text and not takes_value else types

    def knows(self, name: str) -> bool:
        """Return whether the schema describes a parameter of this name, or none at all."""
        return not any(map(self._root.get, _DESCRIBING)) or self._property(self._root, name) is not None

    def fitted(self, name: str, text: str) -> str:
        """Return a parameter's text without the whitespace around it where the schema takes a string only without that.

        The grammars of values in tags allow whitespace around the strings that a schema restricts.
        """
        bare = text.strip(" \t\r\n")
        schemas = [*self._schemas(self._root, name, set())]
        is_taken = all(self._takes(schema, text, {}) for schema in schemas)
        return text if is_taken or not all(self._takes(schema, bare, {}) for schema in schemas) else bare

    def _schemas(self, schema: Any, name: str, followed: set[str]) -> Iterator[Any]:
        """Yield the schemas that a parameter of this name must hold to."""
        if not isinstance(schema, Mapping):
            return
        schema = cast("Mapping[str, Any]", schema)
        yield from _property_schemas(schema, name)
        for part in schema.get("allOf", ()):
            yield from self._schemas(part, name, followed)
        for reference in {*_references_of(schema)} - followed:
            followed.add(reference)
            yield from self._schemas(self._resolve(reference), name, followed)

    def _takes(self, schema: Any, value: Any, followed: dict[str, bool]) -> bool:
        """Return whether the keywords about strings and numbers take a value. `followed`: what the references took so far."""
        if not isinstance(schema, Mapping):
            return True
        schema = cast("Mapping[str, Any]", schema)
        for reference in {*_references_of(schema)} - {*followed}:
            followed[reference] = True
            followed[reference] = self._takes(self._resolve(reference), value, followed)
        return (
            _takes_itself(schema, value)
            and all(followed[reference] for reference in _references_of(schema))
            and all(self._takes(part, value, followed) for part in schema.get("allOf", ()))
            and all(any(self._takes(part, value, followed) for part in parts) for parts in _choices(schema))
        )

    def _property(self, schema: Any, name: str) -> frozenset[str] | None:
        """Return the types of an object's property, or None if the object's schema does not describe it."""
        if not isinstance(schema, Mapping):
            return None
        schema = cast("Mapping[str, Any]", schema)
        found = [self._types(inner) for inner in _property_schemas(schema, name)]
        found += filter(None, (self._property(part, name) for part in schema.get("allOf", ())))
        found += filter(None, (self._referenced_property(reference, name) for reference in _references_of(schema)))
        for branches in _alternatives(schema):
            # A branch that does not describe the parameter says nothing about how to write it.
            if described := [types for branch in branches if (types := self._property(branch, name)) is not None]:
                found.append(frozenset[str]().union(*described))
        return ALL_TYPES.intersection(*found) if found else None

    def _referenced_property(self, reference: str, name: str) -> frozenset[str] | None:
        if (reference, name) not in self._described:
            self._described[reference, name] = None
            self._described[reference, name] = self._property(self._resolve(reference), name)
        return self._described[reference, name]

    def _types(self, schema: Any) -> frozenset[str]:
        if not isinstance(schema, Mapping):
            return ALL_TYPES
        schema = cast("Mapping[str, Any]", schema)
        types = ALL_TYPES
        if "type" in schema:
            types &= _type_names(schema["type"])
        if "enum" in schema or "const" in schema:
            types &= {type_name(value) for value in schema.get("enum", [schema.get("const")])}
        for branches in _choices(schema):
            types &= frozenset[str]().union(*map(self._types, branches))
        for part in schema.get("allOf", ()):
            types &= self._types(part)
        for reference in _references_of(schema):
            types &= self._referenced_types(reference)
        return _implied_types(schema) if types == ALL_TYPES else types

    def _referenced_types(self, reference: str) -> frozenset[str]:
        if reference not in self._references:
            self._references[reference] = ALL_TYPES
            self._references[reference] = self._types(self._resolve(reference))
        return self._references[reference]

    def _resolve(self, reference: str) -> Any:
        """Return what a reference names inside the schema, by JSON pointer (RFC 6901), anchor or id; None for nothing."""
        if reference != "#" and not reference.startswith("#/"):
            return self._named(reference)
        target: Any = self._root
        for key in unquote(reference[2:]).split("/") if reference != "#" else ():
            target = _child(target, key.replace("~1", "/").replace("~0", "~"))
        return target

    def _named(self, reference: str) -> Any:
        if self._anchors is None:
            self._anchors = {}
            for schema in _mappings(self._root):
                names = (schema.get("$id"), *(f"#{schema[word]}" for word in ("$anchor", "$dynamicAnchor") if word in schema))
                self._anchors.update({name: schema for name in names if isinstance(name, str) and name not in self._anchors})
        return self._anchors.get(unquote(reference))


_DESCRIBING = (
    *("properties", "patternProperties", "$ref", "$dynamicRef"),
    *("allOf", "anyOf", "oneOf", "then", "else", "dependentSchemas"),
)
"""The keywords by which a schema describes an object's properties, besides `additionalProperties`, which describes any."""


def _references_of(schema: Mapping[str, Any]) -> list[str]:
    return [schema[keyword] for keyword in ("$ref", "$dynamicRef") if isinstance(schema.get(keyword), str)]


def _alternatives(schema: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the groups of schemas of which some hold, depending on the value."""
    yield from (schema.get(keyword, []) for keyword in ("anyOf", "oneOf"))
    yield [schema[keyword] for keyword in ("then", "else") if keyword in schema]
    yield [*schema.get("dependentSchemas", {}).values()]


def _choices(schema: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the groups of schemas of which each value holds to one."""
    yield from (schema[keyword] for keyword in ("anyOf", "oneOf") if keyword in schema)


def _property_schemas(schema: Mapping[str, Any], name: str) -> list[Any]:
    """Return the schemas that an object's own keywords have for a property."""
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    found = [properties[name]] if name in properties else []
    found += [inner for pattern, inner in patterns.items() if _matches(pattern, name)]
    # `true` and `{}` allow the property, but say nothing about it.
    rest = schema.get("additionalProperties")
    return found or ([rest] if rest and isinstance(rest, Mapping) else [])


def _matches(pattern: str, name: str) -> bool:
    """Return whether a pattern is found in a name; one that Rust's regular expressions do not have is found nowhere."""
    # Pydantic searches in linear time; `re` may take exponential time for a client's pattern.
    try:
        TypeAdapter(Annotated[str, Field(pattern=pattern)]).validate_python(name)
    except (ValidationError, SchemaError):
        return False
    return True


def _takes_itself(schema: Mapping[str, Any], value: Any) -> bool:
    """Return whether a schema's own keywords take a value; of those about objects and arrays none is asked."""
    return (
        ("type" not in schema or not _type_names(schema["type"]).isdisjoint(type_names(value)))
        and ("enum" not in schema or _is_among(value, schema["enum"]))
        and ("const" not in schema or is_same(value, schema["const"]))
        and (not isinstance(value, str) or _takes_string(schema, value))
        and ("number" not in type_names(value) or _takes_number(schema, value))
    )


def _is_among(value: Any, known: list[Any]) -> bool:
    # A text is the same as no other kind of value, and there may be thousands of them.
    return value in known if isinstance(value, str) else any(is_same(value, one) for one in known if not isinstance(one, str))


def _takes_string(schema: Mapping[str, Any], text: str) -> bool:
    has_length = schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text))
    return has_length and ("pattern" not in schema or _matches(schema["pattern"], text))


def _takes_number(schema: Mapping[str, Any], number: Any) -> bool:
    bounds = {keyword: schema[keyword] for keyword in NUMBER_KEYWORDS & CHECKS.keys() if keyword in schema}
    # In draft 4 an exclusive bound is a flag.
    return all(isinstance(bound, bool) or CHECKS[keyword](number, bound) for keyword, bound in bounds.items())


def _child(target: Any, key: str) -> Any:
    if isinstance(target, list) and key.isdecimal():
        items = cast("list[Any]", target)
        return items[int(key)] if len(key) < 10 and int(key) < len(items) else None
    return cast("Mapping[str, Any]", target).get(key) if isinstance(target, Mapping) else None


def _mappings(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping in a schema, the outer ones first."""
    waiting: list[Any] = [schema]
    for value in waiting:
        if isinstance(value, Mapping):
            yield cast("Mapping[str, Any]", value)
            waiting += cast("Mapping[str, Any]", value).values()
        elif isinstance(value, list):
            waiting += cast("list[Any]", value)


def _implied_types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the types that the keywords of a schema without types speak of; all if none does."""
    implied = [_NUMBER_FORMATS.get(schema["format"])] if isinstance(schema.get("format"), str) else []
    found = [*filter(None, implied)] or [types for keyword, types in _IMPLIED.items() if keyword in schema]
    return frozenset[str]().union(*found) or ALL_TYPES


def _type_names(names: str | list[str]) -> frozenset[str]:
    types = frozenset([names] if isinstance(names, str) else names)
    return types | {"integer"} if "number" in types else types
