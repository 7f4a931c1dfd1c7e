"""What a worker process does with the schemas of a request: it checks them, and makes the grammars of its answers.

It also checks the arguments of calls.

A task and its result are JSON, so that a task is also the key under which its result is kept.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from referencing.exceptions import Unresolvable

from autotool_core import tool_formats
from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape
from autotool_core.tool_formats.base import ToolFormat
from autotool_server.conversation.constraints import ANY_OBJECT, grammar
from autotool_server.conversation.request import ConversationRequest, FieldNames
from autotool_server.tools import schema_check
from autotool_server.tools.execute import schema_error

SHAPE_FIELDS = tuple(field.name for field in fields(AnswerShape))


def task_text(request: ConversationRequest, shapes: Sequence[AnswerShape], tool_format: ToolFormat) -> str | None:
    """Return the task of a request with the shapes of its answers, None where nothing is to be checked or constrained.

    Raises InvalidRequestError for schemas that are nested too deeply.
    """
    schema_fields = request.schema_fields
    schemas = {schema_fields[tool.function["name"]]: tool.function.get("parameters") for tool in request.client_tools}
    if request.content_schema is not None:
        schemas[request.fields.content_schema] = request.content_schema
    if not schemas and request.content_format is None and all(shape.calls == "allowed" and not shape.tools for shape in shapes):
        return None
    task = {
        "schemas": schemas,
        "shapes": [_plain(shape) for shape in shapes],
        "format": tool_format.name,
        "fields": asdict(request.fields),
        "schema_fields": schema_fields,
    }
    try:
        return json.dumps(task)
    except RecursionError:
        raise InvalidRequestError("This JSON schema is nested too deeply.", first_field(request)) from None


def first_field(request: ConversationRequest) -> str:
    """Return the field of a request that has schemas."""
    return request.fields.tools if request.client_tools else request.fields.content_format


def answer(text: str, working_on: Callable[[str], None]) -> list[str | None]:
    """Do a task: return the grammar of each shape, or what is wrong with each call, None where there is nothing.

    Raises InvalidRequestError, naming the field.
    """
    task = json.loads(text)
    if "calls" in task:
        return [_fault(schema or ANY_OBJECT, arguments) for schema, arguments in task["calls"]]
    return grammars(text, working_on)


def grammars(text: str, working_on: Callable[[str], None]) -> list[str | None]:
    """Do a task: return the grammar of each shape, None where nothing is constrained.

    `working_on` is called with each field of the request before the work on it. Raises InvalidRequestError, naming the field.
    """
    task = json.loads(text)
    for field, schema in task["schemas"].items():
        working_on(field)
        _check_schema(schema, field)
    names = FieldNames(**task["fields"])
    tool_format = tool_formats.get(task["format"])
    shapes = [AnswerShape(**shape) for shape in task["shapes"]]
    return [grammar(shape, tool_format, names, task["schema_fields"], working_on) for shape in shapes]


def _fault(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    try:
        return schema_error(schema, arguments)
    except Unresolvable:
        return "The schema refers to another document, which is not fetched."


def _plain(shape: AnswerShape) -> Mapping[str, Any]:
    values = {name: getattr(shape, name) for name in SHAPE_FIELDS}
    names = shape.callable_names
    return {**values, "tools": [*shape.tools], "callable_names": None if names is None else sorted(names)}


def _check_schema(schema: Mapping[str, Any] | bool | None, field: str) -> None:
    try:
        where = schema_check.error_path(schema if schema is not None else ANY_OBJECT)
    except RecursionError:
        raise InvalidRequestError("This JSON schema is nested too deeply.", field) from None
    if where is not None:
        raise InvalidRequestError(f"This is not a valid JSON schema (at {where}).", field)
