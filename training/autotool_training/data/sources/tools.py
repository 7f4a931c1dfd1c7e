"""Tools of a data set as OpenAI `function` tools with a valid JSON schema."""

import json
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import jsonschema

from autotool_core.function_schemas import json_schema, plain_name
from autotool_training.common.records import GoldCall
from autotool_training.data.sources.rows import MalformedError

Tool = dict[str, Any]


def tools(functions: Iterable[Mapping[str, Any]], calls: Iterable[GoldCall] = ()) -> list[Tool]:
    """Tools of functions as data sets describe them: as OpenAI does, or bare, with a schema or a flat map of parameters.

    Where such a map does not say what is required, what one of `calls` leaves out is not. Raises ValueError for an unknown
    type, a schema that is none, and a name twice.
    """
    given = [(call.name, set(call.arguments)) for call in calls]
    made = [_tool(function.get("function", function), given) for function in functions]
    if len({tool["function"]["name"] for tool in made}) < len(made):
        raise MalformedError("two tools of one name")
    return made


def parameters(tool: Tool) -> Mapping[str, Any]:
    """The schema of a tool's arguments."""
    return tool["function"]["parameters"]


def _tool(function: Mapping[str, Any], given: Iterable[tuple[str, Collection[str]]]) -> Tool:
    name = plain_name(function["name"])
    schema = _arguments(function, [arguments for called, arguments in given if called == name])
    if not _is_valid(json.dumps(schema)):
        raise MalformedError("tool with an invalid JSON schema")
    named = {"name": name, "description": function.get("description") or "", "parameters": schema}
    return {"type": "function", "function": named}


def _arguments(function: Mapping[str, Any], given: Iterable[Collection[str]]) -> dict[str, Any]:
    raw: Mapping[str, Any] = function.get("parameters") or function.get("arguments") or {}
    flat = "properties" not in raw and all(isinstance(value, Mapping) for value in raw.values())
    properties = {name: dict(value) for name, value in (raw if flat else raw.get("properties") or {}).items()}
    stated = function.get("required") if flat else raw.get("required") or function.get("required")
    required = stated or (_needed(properties, given) if flat else ())
    for value in properties.values():
        if value.get("default", 0) in ("", None):
            del value["default"]  # so some data sets write that there is none
    try:
        schema = json_schema({"properties": properties})
    except ValueError:
        raise MalformedError("tool with an unknown type") from None
    return {"type": "object", **schema, "required": [name for name in required if name in properties]}


def _needed(properties: Mapping[str, Mapping[str, Any]], given: Iterable[Collection[str]]) -> list[str]:
    """Of a flat map of parameters: those that are neither called optional nor have a default, and no call leaves out."""
    given = list(given)
    return [
        name
        for name, value in properties.items()
        if "optional" not in str(value.get("type")) and value.get("default") in ("", None) and all(name in one for one in given)
    ]


@lru_cache(maxsize=4096)
def _is_valid(schema: str) -> bool:
    """Whether the text is a JSON schema; most tools come many times."""
    try:
        jsonschema.Draft202012Validator.check_schema(json.loads(schema))
    except jsonschema.SchemaError:
        return False
    return True
