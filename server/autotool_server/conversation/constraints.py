"""What an answer may be: the tools it may call, the form of its content, and the grammar that holds it to both."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import xgrammar

from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.json_schema import unenforceable
from autotool_core.tool_formats.base import ToolFormat
from autotool_server.api.chat_completions.schemas import ChatRequest, FunctionTool, NamedToolChoice, ToolChoice
from autotool_server.tools import schema_check
from autotool_server.tools.base import Tool

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


def answer_shape(
    body: ChatRequest, server_tools: Mapping[str, Tool], choice: ToolChoice | None, strict_tools: bool
) -> AnswerShape:
    """What the answer may be, from tools, `choice` and response_format. Raises InvalidRequestError, naming the field.

    `strict_tools` is the profile's.
    """
    tools = [*_client_tools(body, server_tools), *map(_as_function, server_tools.values())]
    if choice not in (None, "none") and not tools:
        raise InvalidRequestError("tool_choice is only allowed where tools are given.", "tool_choice")
    if isinstance(choice, NamedToolChoice):
        named = [tool for tool in tools if tool["function"]["name"] == choice.function.name]
        if not named:
            raise InvalidRequestError("tool_choice names a function that is not in tools.", "tool_choice.function.name")
        return AnswerShape(named, "one", schema=_content_schema(body))
    offered = () if choice == "none" else tools
    calls = "required" if choice == "required" else "allowed"
    return AnswerShape(offered, calls, body.parallel_tool_calls, _content_schema(body), strict_tools)


def grammar(shape: AnswerShape, tool_format: ToolFormat) -> str | None:
    """The answer's grammar, if it has one. Raises InvalidRequestError for a schema that it cannot enforce.

    The arguments of a tool that the client does not say `strict` of are then any object.
    """
    if structural_tag(shape, tool_format) is None:
        return None
    shape = replace(shape, tools=[_held(tool, shape, tool_format) for tool in shape.tools])
    for field, schema in _enforced(shape):
        if feature := unenforceable(schema):
            raise InvalidRequestError(f"{feature} in a JSON schema cannot be enforced here. Leave it out.", field)
    tag = structural_tag(shape, tool_format)
    if tag is not None and not _compiles(tag):
        field = "response_format" if shape.schema is not None else "tools"
        raise InvalidRequestError("A JSON schema cannot be made a grammar. Use a simpler schema.", field)
    return tag


def _held(tool: Mapping[str, Any], shape: AnswerShape, tool_format: ToolFormat) -> Mapping[str, Any]:
    """The tool with the schema that its calls are held to."""
    function = tool["function"]
    strict = function.get("strict")
    is_free = strict is False and shape.calls == "allowed"
    # What a client asks for is enforced or refused; what nobody asked for is enforced where it can be.
    if strict or (not is_free and _enforceable(tool, tool_format)):
        return tool
    return {**tool, "function": {**function, "parameters": ANY_OBJECT}}


def _enforceable(tool: Mapping[str, Any], tool_format: ToolFormat) -> bool:
    alone = structural_tag(AnswerShape([tool], "one"), tool_format)
    return alone is not None and not unenforceable(tool["function"].get("parameters") or {}) and _compiles(alone)


def _client_tools(body: ChatRequest, server_tools: Mapping[str, Tool]) -> list[dict[str, Any]]:
    functions = [(at, tool) for at, tool in enumerate(body.tools) if isinstance(tool, FunctionTool)]
    names = set(server_tools)
    for at, tool in functions:
        field = f"tools.{at}.function"
        if tool.function.name in names:
            raise InvalidRequestError("Two tools have the same name.", f"{field}.name")
        names.add(tool.function.name)
        _check_schema(tool.function.parameters, f"{field}.parameters")
    return [tool.model_dump(exclude_none=True) for _, tool in functions]


def _as_function(tool: Tool) -> dict[str, Any]:
    """A server tool as the model sees it: like any function."""
    spec = tool.spec
    function = {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}
    return {"type": "function", "function": function}


def _content_schema(body: ChatRequest) -> Mapping[str, Any] | bool | None:
    form = body.response_format
    if form is None or form.type == "text":
        return None
    if form.json_schema is None:
        return ANY_OBJECT
    _check_schema(form.json_schema.schema_, "response_format.json_schema.schema")
    return form.json_schema.schema_


def _check_schema(schema: Mapping[str, Any] | bool | None, field: str) -> None:
    try:
        where = schema_check.invalid_at(schema if schema is not None else ANY_OBJECT)
    except RecursionError:
        raise InvalidRequestError("This JSON schema is nested too deeply.", field) from None
    if where is not None:
        raise InvalidRequestError(f"This is not a valid JSON schema (at {where}).", field)


def _enforced(shape: AnswerShape) -> Iterator[tuple[str, Any]]:
    if shape.schema is not None:
        yield "response_format.json_schema.schema", shape.schema
    for tool in shape.tools:
        yield "tools", tool["function"].get("parameters") or {}


@lru_cache(maxsize=64)
def _compiles(tag: str) -> bool:
    try:
        xgrammar.Grammar.from_structural_tag(tag)
    except RuntimeError:
        return False
    return True
