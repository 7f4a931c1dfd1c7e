"""Convert the functions that data sets describe to tools that every OpenAI-compatible server accepts."""

from collections.abc import Mapping, Sequence
from typing import Any

from autotool_bench.suites.base import Tool
from autotool_core.function_schemas import json_schema, plain_name


def to_tools(functions: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Tool]:
    """Convert functions (name, description, schema) to tools. Raises ValueError for an unknown type or a repeated name."""
    names = [plain_name(name) for name, _, _ in functions]
    if len(set(names)) < len(names):
        raise ValueError("two functions have the same name")
    return [
        {"type": "function", "function": {"name": name, "description": text, "parameters": _arguments(schema)}}
        for name, (_, text, schema) in zip(names, functions, strict=True)
    ]


def _arguments(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {}} | json_schema(raw)
