"""Gold arguments brought to the types of their tool's schema, where their text clearly is of that type.

A model that learns "5" where the schema says integer is wrong by every official scorer, and most data sets write text.
"""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from autotool_core.parsing.schema_types import ParameterTypes, type_name

INTEGER = re.compile(r"[+-]?\d+")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
BOOLEANS = {"true": True, "false": False}


def coerced(value: Any, schema: Any) -> Any:
    """The value in the schema's type, its parts included; the value itself where it is no clear case."""
    types = allowed_types(schema)
    if isinstance(value, str) and "string" not in types:
        parse = _parse(value.strip(), types)
        return value if parse is None else parse if isinstance(parse, int | float) else coerced(parse, schema)
    if isinstance(value, float) and value.is_integer() and "integer" in types and "number" not in types:
        return int(value)
    if isinstance(value, list):
        items = schema.get("items") if isinstance(schema, Mapping) else None
        return [coerced(item, items) for item in value]
    if isinstance(value, Mapping):
        properties = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
        return {name: coerced(item, properties.get(name)) for name, item in value.items()}
    return value


def is_broken(value: Any, schema: Any) -> bool:
    """Whether the value is the text of a list or an object that cannot be read, where the schema wants one."""
    return isinstance(value, str) and value.strip()[:1] in ("[", "{") and "string" not in allowed_types(schema)


def fits(value: Any, schema: Any) -> bool:
    """Whether the value, leaving its parts aside, is of a type that the schema allows."""
    return type_name(value) in allowed_types(schema)


def allowed_types(schema: Any) -> frozenset[str]:
    """The types that a schema allows; JSON has one kind of number."""
    return ParameterTypes({"properties": {"value": schema}}).of("value")


def _parse(text: str, types: frozenset[str]) -> Any:
    """What the text is of these types; None where it is none of them."""
    # A schema's number may be written without a point, too.
    if types & {"integer", "number"} and INTEGER.fullmatch(text):
        return int(text)
    if "number" in types and NUMBER.fullmatch(text):
        return float(text)
    if "boolean" in types and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    if text[:1] in ("[", "{"):
        return _literal(text, types & {"array", "object"})
    return None


def _literal(text: str, types: frozenset[str]) -> Any:
    """JSON, or the same as Python writes it."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if type_name(value) in types else None
    return None
