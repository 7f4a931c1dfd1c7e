"""Converts the tools of a data set to OpenAI `function` tools with a valid JSON schema."""

import json
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import jsonschema

from autotool_core.function_schemas import json_schema, plain_name
from autotool_training.common.records import GoldCall
from autotool_training.data.sources.rows import MalformedError

Tool = dict[str, Any]
OPENAI_KEYS = ("name", "description", "parameters", "strict")


def tools(functions: Iterable[Mapping[str, Any]], calls: Iterable[GoldCall] = ()) -> list[Tool]:
    """Return the tools of functions in OpenAI's form, or without its envelope, with a schema or a flat map of parameters.

    If a flat map does not state what is required, a parameter that one of `calls` lacks is optional. Raises ValueError for an
    unknown type, an invalid schema, and a repeated name.
    """
    call_arguments = [(call.name, set(call.arguments)) for call in calls]
    converted = [_tool(function.get("function", function), call_arguments) for function in functions]
    _reject_doubled(converted)
    return converted


def stated_tools(functions: Iterable[Mapping[str, Any]]) -> list[Tool]:
    """Return tools that a server gets too: those of OpenAI's form unchanged, so that its prompts are those that are learnt.

    Others are converted as by `tools`, which raises the same errors.
    """
    stated = [_unchanged(function.get("function", function)) or tools([function])[0] for function in functions]
    _reject_doubled(stated)
    return stated


def parameters(tool: Tool) -> Mapping[str, Any]:
    """Return the schema of a tool's arguments."""
    return tool["function"]["parameters"]


def _reject_doubled(tools: Collection[Tool]) -> None:
    if len({tool["function"]["name"] for tool in tools}) < len(tools):
        raise MalformedError("two tools of one name")


def _unchanged(function: Mapping[str, Any]) -> Tool | None:
    """Return the tool of a function with all that OpenAI's API knows of it; None if that API would not take it."""
    name, schema = function["name"], function.get("parameters")
    is_schema = isinstance(schema, Mapping) and schema.get("type") == "object" and _is_valid(json.dumps(schema))
    if not is_schema or name != plain_name(name):
        return None
    return {"type": "function", "function": {key: function[key] for key in function if key in OPENAI_KEYS}}


def _tool(function: Mapping[str, Any], call_arguments: Iterable[tuple[str, Collection[str]]]) -> Tool:
    name = plain_name(function["name"])
    schema = _arguments(function, [arguments for called, arguments in call_arguments if called == name])
    if not _is_valid(json.dumps(schema)):
        raise MalformedError("tool with an invalid JSON schema")
    named = {"name": name, "description": function.get("description") or "", "parameters": schema}
    return {"type": "function", "function": named}


def _arguments(function: Mapping[str, Any], call_arguments: Iterable[Collection[str]]) -> dict[str, Any]:
    raw: Mapping[str, Any] = function.get("parameters") or function.get("arguments") or {}
    is_flat = "properties" not in raw and all(isinstance(value, Mapping) for value in raw.values())
    properties = {name: dict(value) for name, value in (raw if is_flat else raw.get("properties") or {}).items()}
    stated_names = function.get("required") if is_flat else raw.get("required") or function.get("required")
    required = stated_names or (_required_names(properties, call_arguments) if is_flat else ())
    for value in properties.values():
        if value.get("default", 0) in ("", None):
            del value["default"]  # Some data sets write an empty default for none.
    try:
        schema = json_schema({"properties": properties})
    except ValueError:
        raise MalformedError("tool with an unknown type") from None
    return {"type": "object", **schema, "required": [name for name in required if name in properties]}


def _required_names(properties: Mapping[str, Mapping[str, Any]], call_arguments: Iterable[Collection[str]]) -> list[str]:
    """Return the required parameters of a flat map: neither optional, nor with a default, nor missing in a call."""
    call_arguments = list(call_arguments)
    return [
        name
        for name, value in properties.items()
        if "optional" not in str(value.get("type"))
        and value.get("default") in ("", None)
        and all(name in names for names in call_arguments)
    ]


@lru_cache(maxsize=4096)
def _is_valid(schema: str) -> bool:
    """Return whether the text is a JSON schema. Results are cached because most tools occur many times."""
    try:
        jsonschema.Draft202012Validator.check_schema(json.loads(schema))
    except jsonschema.SchemaError:
        return False
    return True
