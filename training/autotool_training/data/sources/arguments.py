"""Converts gold arguments to the types of their tool's schema, if their text is clearly of that type.

Most data sets write all arguments as text. Every official scorer rejects "5" if the schema says integer.
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
    """Return the value and its parts in the schema's types. An unclear value is returned unchanged."""
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
    """Return whether the value is unparsable text of a list or an object that the schema requires."""
    return isinstance(value, str) and value.strip()[:1] in ("[", "{") and "string" not in allowed_types(schema)


def fits(value: Any, schema: Any) -> bool:
    """Return whether the schema allows the type of the value. Its parts are not checked."""
    return type_name(value) in allowed_types(schema)


def allowed_types(schema: Any) -> frozenset[str]:
    """Return the types that a schema allows. JSON has a single type of number."""
    return ParameterTypes({"properties": {"value": schema}}).allowed("value")


def _parse(text: str, types: frozenset[str]) -> Any:
    """Parse the text as one of these types. Return None if it is of none of them."""
    # A number may be written without a decimal point, too.
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
    """Parse JSON or a Python literal of one of these types. Return None for anything else."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if type_name(value) in types else None
    return None
