"""Constraints on an answer: the tools it may call, the form of its content, and the grammar that enforces both."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape, structural_tag
from autotool_core.held.errors import NotHeldError
from autotool_core.held.schema import held
from autotool_core.held.texts import Texts
from autotool_core.parsing.collect import collect
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import Profile
from autotool_core.tool_formats.base import ToolFormat
from autotool_server.conversation.grammar_texts import written_out
from autotool_server.conversation.request import (
    GENERIC_FIELDS,
    AllowedTools,
    ConversationRequest,
    FieldNames,
    NamedTool,
    ToolChoice,
)
from autotool_server.tools.base import Tool

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
MOST_CHARACTERS = 400_000
"""The longest grammar. Engines compile it again, with the vocabulary, which takes them up to 0.15 CPU seconds for 1,000
characters (docs/experiments/2026-11-29-untrusted-work.md)."""
PLAIN = re.compile(r"""[^<>"'\\\n\r\t]*""")
"""Values that every format can spell: tags, delimiters and escapes need other characters."""
WorkingOn = Callable[[str], None]


def answer_shape(
    request: ConversationRequest, server_tools: Mapping[str, Tool], choice: ToolChoice | None, strict_tools: bool
) -> AnswerShape:
    """Return what the answer may be, from tools, `choice` and content schema. Raises InvalidRequestError, naming the field.

    No schema is looked into. `strict_tools` is the profile's.
    """
    fields = request.fields
    tools = [*_client_functions(request, server_tools), *map(_as_function, server_tools.values())]
    if choice not in (None, "none") and not tools:
        raise InvalidRequestError(f"{fields.tool_choice} is only allowed where tools are given.", fields.tool_choice)
    if isinstance(choice, NamedTool):
        named = [tool for tool in tools if tool["function"]["name"] == choice.name]
        if not named:
            raise InvalidRequestError(
                f"{fields.tool_choice} names a function that is not in {fields.tools}.", fields.tool_choice_name
            )
        return AnswerShape(named, "one", schema=request.content_schema, content=_content_format(request))
    allowed = choice if isinstance(choice, AllowedTools) else None
    is_required = choice == "required" or (allowed is not None and allowed.required)
    return AnswerShape(
        () if choice == "none" else tools,
        "required" if is_required else "allowed",
        request.parallel_tool_calls,
        request.content_schema,
        strict_tools,
        content=_content_format(request),
        callable_names=_allowed_names(allowed, tools, fields) if allowed is not None else None,
    )


def _allowed_names(allowed: AllowedTools, tools: Sequence[Mapping[str, Any]], fields: FieldNames) -> Collection[str]:
    offered = {tool["function"]["name"] for tool in tools}
    for name, path in allowed.fields.items():
        if name not in offered:
            raise InvalidRequestError(f"{fields.tool_choice} names a function that is not in {fields.tools}.", path)
    return frozenset(allowed.fields)


def _content_format(request: ConversationRequest) -> dict[str, Any] | None:
    return dict(request.content_format) if request.content_format is not None else None


def grammar(
    shape: AnswerShape,
    tool_format: ToolFormat,
    fields: FieldNames = GENERIC_FIELDS,
    schema_fields: Mapping[str, str] = MappingProxyType({}),
    working_on: WorkingOn = lambda field: None,
) -> str | None:
    """Return the answer's grammar, None where nothing is constrained. The schemas must be valid.

    Raises InvalidRequestError for a schema that a grammar cannot enforce. `schema_fields`: the paths of the schemas of tools in
    the request's body, by the tool's name, for that error. `working_on` is called with each field before the work on it.
    The arguments of a tool whose schema cannot be enforced, and that the client does not call `strict`, may be any object, and
    so may those of all such tools where the grammar would be too long.
    """
    try:
        if structural_tag(shape, tool_format) is None:
            return None
        return _held_grammar(shape, tool_format, fields, schema_fields, working_on)
    except RecursionError:
        field = fields.content_format if shape.content_tag is not None else fields.tools
        raise InvalidRequestError("This is nested too deeply.", field) from None


def _held_grammar(
    shape: AnswerShape, tool_format: ToolFormat, fields: FieldNames, schema_fields: Mapping[str, str], working_on: WorkingOn
) -> str | None:
    texts = Texts()
    whole = fields.content_format if shape.content_tag is not None else fields.tools
    if shape.schema is not None:
        working_on(fields.content_schema)
        shape = replace(shape, schema=_held_content(shape.schema, texts, fields))
    tools: list[Mapping[str, Any]] = []
    for tool in shape.callable_tools:
        field = schema_fields.get(tool["function"]["name"], fields.tools)
        working_on(field)
        tools.append(_held_tool(tool, shape, tool_format, texts, field))
    working_on(whole)
    tag = _compiled(structural_tag(replace(shape, tools=tools), tool_format), texts)
    if tag is not None and len(tag) > MOST_CHARACTERS:
        tag = _compiled(structural_tag(replace(shape, tools=[*map(_freed, tools)]), tool_format), texts)
    if tag is None:
        kind = "This" if shape.content is not None else "A JSON schema"
        raise InvalidRequestError(f"{kind} cannot be made a grammar. Use a simpler one.", whole)
    if len(tag) > MOST_CHARACTERS:
        message = f"The grammar of this has {len(tag)} characters, more than {MOST_CHARACTERS}. Use fewer or simpler schemas."
        raise InvalidRequestError(message, whole)
    return tag


def _held_content(schema: Mapping[str, Any] | bool, texts: Texts, fields: FieldNames) -> Any:
    try:
        return held(schema, texts)
    except NotHeldError as error:
        raise InvalidRequestError(f"{error} cannot be enforced here. Leave it out.", fields.content_schema) from None


def _held_tool(
    tool: Mapping[str, Any], shape: AnswerShape, tool_format: ToolFormat, texts: Texts, field: str
) -> Mapping[str, Any]:
    """Return the tool with the schema that its calls are held to.

    A schema that the client calls strict is held or refused; any other is held if that is possible, and else left free.
    """
    function = tool["function"]
    strict = function.get("strict")
    parameters: Any = ANY_OBJECT
    if strict is not False or shape.calls != "allowed":
        try:
            parameters = _held_parameters(function, tool_format, texts)
        except NotHeldError as error:
            if strict:
                raise InvalidRequestError(f"{error} cannot be enforced here. Leave it out.", field) from None
    return {**tool, "function": {**function, "parameters": parameters}}


def _freed(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tool with any arguments allowed, unless the client calls it strict."""
    function = tool["function"]
    return tool if function.get("strict") else {**tool, "function": {**function, "parameters": ANY_OBJECT}}


def _held_parameters(function: Mapping[str, Any], tool_format: ToolFormat, texts: Texts) -> Any:
    """Return the parameters of a function as they are held. Raises NotHeldError."""
    given = function.get("parameters") or NO_PARAMETERS
    parameters = held(given, texts)
    if feature := tool_format.unenforceable(parameters):
        # Held, maxLength is a pattern, and so are names beside those that are listed.
        feature = "additionalProperties beside properties" if feature == "patternProperties" else feature
        raise NotHeldError(tool_format.unenforceable(given) or feature)
    _check_spelling(given, tool_format)
    tool = {"type": "function", "function": {**function, "parameters": parameters}}
    if _compiled(structural_tag(AnswerShape([tool], "one"), tool_format), texts) is None:
        raise NotHeldError("something that cannot be made a grammar")
    return parameters


def _check_spelling(parameters: Mapping[str, Any], tool_format: ToolFormat) -> None:
    """Raise NotHeldError for a property that a format without JSON cannot spell: `a>b` between tags, `a b` in Python."""
    for name, schema in (parameters.get("properties") or {}).items():
        if not tool_format.json_arguments and not _comes_back(tool_format, name, json.dumps(schema)):
            error = NotHeldError("a name or value that calls of this model cannot spell")
            error.place = f"properties/{name}"
            raise error


@lru_cache(maxsize=1024)  # the turns of a conversation bring the same tools
def _comes_back(tool_format: ToolFormat, name: str, schema: str) -> bool:
    """Return whether calls with a property of this name, and with each value that its schema lists, are read as written."""
    described: Any = json.loads(schema)
    is_listed = isinstance(described, dict) and ("enum" in described or "const" in described)
    listed: list[Any] = described.get("enum", [described.get("const")]) if is_listed else []
    # Each by itself, since the parser reads the whole schema for each call.
    return all(_is_read_back(tool_format, name, value) for value in (0, *listed) if not _is_plain(value))


def _is_read_back(tool_format: ToolFormat, name: str, value: Any) -> bool:
    tool = {"function": {"name": "f", "parameters": {"properties": {name: {"const": value}}}}}
    parser = TurnParser(Profile(name="any", think=None, tool_format=tool_format), tools=[tool])
    events = [*parser.feed(tool_format.render_calls([("f", {name: value})])), *parser.finish()]
    calls = collect(events).calls or ()
    return [json.dumps(dict(call.arguments), sort_keys=True) for call in calls] == [json.dumps({name: value}, sort_keys=True)]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and PLAIN.fullmatch(value) is not None


def _compiled(tag: str | None, texts: Texts) -> str | None:
    """Return a grammar with the rules of its texts; None for one that xgrammar does not take."""
    try:
        written = written_out(tag or "", texts)
    except RuntimeError:
        return None
    return written if _compiles(written) else None


def _client_functions(request: ConversationRequest, server_tools: Mapping[str, Tool]) -> list[dict[str, Any]]:
    names = set(server_tools)
    for tool in request.client_tools:
        name = tool.function["name"]
        if name in names:
            raise InvalidRequestError("Two tools have the same name.", f"{tool.field}.name")
        names.add(name)
    return [{"type": "function", "function": tool.function} for tool in request.client_tools]


def _as_function(tool: Tool) -> dict[str, Any]:
    """Return a server tool as the model sees it: like any function."""
    spec = tool.spec
    function = {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}
    return {"type": "function", "function": function}


@lru_cache(maxsize=64)
def _compiles(tag: str) -> bool:
    import xgrammar  # noqa: PLC0415 the server itself makes no grammars, and xgrammar takes seconds

    try:
        xgrammar.Grammar.from_structural_tag(tag)
    except RuntimeError:
        return False
    return True
