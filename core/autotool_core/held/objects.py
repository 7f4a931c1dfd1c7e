"""Objects: the names that are listed, and one kind of others."""

from collections.abc import Callable, Mapping
from typing import Any

from autotool_core.held.errors import NotHeldError
from autotool_core.held.sizes import limits
from autotool_core.held.texts import Texts, as_pattern

Schema = Mapping[str, Any]
Hold = Callable[..., Any]
"""Returns an inner schema as it is held, by the steps of its path."""


def held_object(schema: Schema, hold: Hold, texts: Texts, name_schema: Schema | None) -> dict[str, Any]:
    """Return the schema of an object. `name_schema`: that of `propertyNames`, as it is held."""
    properties = {name: hold(inner, "properties", name) for name, inner in schema.get("properties", {}).items()}
    required = [*schema.get("required", ())]
    if missing := {*required} - {*properties}:
        raise NotHeldError(f"a required name that is not in properties ({min(missing)[:40]})")
    listed = {"properties": properties, "required": required} if properties else {}
    others = _others(schema, hold, texts, name_schema, [*properties])
    is_open = others.get("additionalProperties") is not False
    sizes = _sizes(schema, len(required), len(properties), is_open=is_open)
    return {"type": "object", **listed, **(others or ({"additionalProperties": True} if sizes else {})), **sizes}


def _others(schema: Schema, hold: Hold, texts: Texts, name_schema: Schema | None, listed: list[str]) -> dict[str, Any]:
    """Return what holds the names that are not listed, and their values; nothing if both are free."""
    patterns, inner = schema.get("patternProperties", {}), schema.get("additionalProperties")
    if patterns:
        beside = {"propertyNames": name_schema, "additionalProperties": None if inner is False else inner}
        _check_alone("patternProperties", beside, listed)
        if len(patterns) > 1:
            raise NotHeldError("several patternProperties")
        ((pattern, value),) = patterns.items()
        return _named(as_pattern(texts.of_pattern(pattern)), hold(value, "patternProperties", pattern))
    if name_schema is not None:
        _check_alone("propertyNames", {}, listed)
    if inner is False or (inner is None and "properties" in schema):
        return {"additionalProperties": False}
    if inner is None and name_schema is None:
        return {}
    value = hold(True if inner is None else inner, "additionalProperties")
    if name_schema is not None:
        return _named(_names(name_schema, texts), value)
    return _named(as_pattern(texts.other_than(listed)), value) if listed else {"additionalProperties": value}


def _check_alone(keyword: str, beside: Mapping[str, Any], listed: list[str]) -> None:
    for other, value in (*beside.items(), ("properties", listed or None)):
        if value is not None:
            raise NotHeldError(f"{keyword} together with {other}")


def _named(pattern: str, value: Any) -> dict[str, Any]:
    return {"patternProperties": {pattern: value}}


def _names(schema: Schema, texts: Texts) -> str:
    """Return the pattern of the names that a schema of `propertyNames`, as it is held, allows."""
    if "enum" in schema:
        return as_pattern(texts.among(schema["enum"]))
    return str(schema["pattern"]) if "pattern" in schema else as_pattern(texts.of_lengths(0, None))


def _sizes(schema: Schema, required: int, listed: int, *, is_open: bool) -> dict[str, int]:
    least, most = limits(schema, "Properties")
    if most is not None and most < required:
        raise NotHeldError("maxProperties below the number of required names")
    if least > max(1, required) and is_open:
        raise NotHeldError("minProperties above 1 where names are free, since a name may come twice,")
    if least > listed and not is_open:
        raise NotHeldError("minProperties above the number of properties")
    sizes = {"minProperties": least} if least > required else {}
    return sizes if most is None or (most >= listed and not is_open) else {**sizes, "maxProperties": most}
