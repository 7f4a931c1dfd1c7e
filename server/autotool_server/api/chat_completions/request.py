"""The way in: from the body of `/v1/chat/completions` to a protocol-neutral request."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_server.api.chat_completions.formats import ContentForm, response_form, structured_form
from autotool_server.api.chat_completions.history import template_messages
from autotool_server.api.chat_completions.schemas import ChatRequest
from autotool_server.api.chat_completions.tools import (
    AllowedToolsChoice,
    FunctionDefinition,
    FunctionTool,
    NamedFunction,
    NamedToolChoice,
)
from autotool_server.api.fields import MAX_INT32, server_tools
from autotool_server.conversation.request import (
    AllowedTools,
    ClientTool,
    ConversationRequest,
    FieldNames,
    NamedTool,
    ServerToolName,
    ToolChoice,
)

FIELDS = FieldNames(
    tool_choice_name="tool_choice.function.name",
    content_format="response_format",
    content_schema="response_format.json_schema.schema",
    max_tokens="max_completion_tokens",
    num_choices="n",
    effort="reasoning_effort",
)


def conversation_request(body: ChatRequest) -> ConversationRequest:
    """Return the request that a body makes. Raises InvalidRequestError where two of its fields contradict each other."""
    form = _content_form(body)
    return ConversationRequest(
        messages=[*template_messages(body.messages)],
        id=f"chatcmpl-{uuid.uuid4().hex}",
        answer_id=None if body.request_id is None else f"chatcmpl-{body.request_id}",
        model=body.model,
        mode=body.mode,
        template_arguments=body.chat_template_kwargs or {},
        effort=body.reasoning_effort,
        reasoning_bias=body.reasoning_bias,
        target=body.cost_target,
        max_tokens=_max_tokens(body),
        max_tokens_is_total=body.lifts_reasoning_limit,
        max_reasoning_tokens=_max_reasoning_tokens(body),
        sampling=body.sampling,
        stop=body.stops,
        stop_token_ids=tuple(body.stop_token_ids),
        ignore_eos=body.ignore_eos,
        min_tokens=body.min_tokens,
        skip_special_tokens=body.skip_special_tokens,
        priority=body.priority,
        logprobs=_logprobs(body),
        num_choices=body.n,
        client_tools=_client_tools(body),
        server_tools=_server_tools(body),
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls and not body.functions,
        tool_budget=body.tool_limits,
        tool_approvals=body.tool_approvals,
        content_schema=form.schema if form is not None else None,
        content_format=form.format if form is not None else None,
        fields=_field_names(body, form),
    )


def _field_names(body: ChatRequest, form: ContentForm | None) -> FieldNames:
    names = FIELDS
    if form is not None:
        names = replace(names, content_format=form.field, content_schema=form.schema_field or form.field)
    if body.functions or body.function_call is not None:
        names = replace(names, tools="functions", tool_choice="function_call", tool_choice_name="function_call.name")
    return names


def _max_tokens(body: ChatRequest) -> int | None:
    if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
        raise InvalidRequestError("max_tokens and max_completion_tokens disagree. Send only the latter.", "max_tokens")
    return body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens


def _max_reasoning_tokens(body: ChatRequest) -> int | None:
    if body.lifts_reasoning_limit:
        return MAX_INT32
    ours, theirs = body.max_reasoning_tokens, body.thinking_budget
    if None not in (ours, theirs) and ours != theirs:
        message = "thinking_token_budget and max_reasoning_tokens disagree. Send only one of them."
        raise InvalidRequestError(message, "thinking_token_budget")
    return theirs if ours is None else ours


def _logprobs(body: ChatRequest) -> int | None:
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequestError("top_logprobs is only allowed with logprobs=true.", "top_logprobs")
    return (body.top_logprobs or 0) if body.logprobs else None


def _client_tools(body: ChatRequest) -> list[ClientTool]:
    if body.tools and body.functions:
        raise InvalidRequestError("functions is the old name of tools. Send only one of them.", "functions")
    tools = [
        _client_tool(tool.function, f"tools.{index}.function", tool.strict)
        for index, tool in enumerate(body.tools)
        if isinstance(tool, FunctionTool)
    ]
    return tools + [_client_tool(function, f"functions.{index}") for index, function in enumerate(body.functions)]


def _client_tool(function: FunctionDefinition, field: str, strict: bool | None = None) -> ClientTool:
    values = {"strict": strict} | function.model_dump(exclude_none=True)
    return ClientTool({name: value for name, value in values.items() if value is not None and name != "cache_control"}, field)


def _server_tools(body: ChatRequest) -> Sequence[ServerToolName]:
    tools = server_tools(body.tools)
    if tools and body.return_token_ids:
        raise InvalidRequestError("return_token_ids is only allowed without server tools in tools.", "return_token_ids")
    return tools


def _tool_choice(body: ChatRequest) -> ToolChoice | None:
    choice = body.tool_choice if body.tool_choice is not None else body.function_call
    match choice:
        case NamedToolChoice():
            return NamedTool(choice.function.name)
        case NamedFunction():
            return NamedTool(choice.name)
        case AllowedToolsChoice():
            return _allowed_tools(choice)
        case _:
            return choice


def _allowed_tools(choice: AllowedToolsChoice) -> AllowedTools:
    allowed = choice.allowed_tools
    named = [tool.named for tool in allowed.tools]
    fields = {name: f"tool_choice.allowed_tools.tools.{index}.{field}" for index, (name, field) in enumerate(named)}
    return AllowedTools(fields, required=allowed.mode == "required")


def _content_form(body: ChatRequest) -> ContentForm | None:
    """Return the form of the content that the body asks for in one of three ways."""
    found: list[ContentForm] = []
    if form := response_form(body.response_format):
        found.append(form)
    if body.structured_outputs is not None:
        found += _structured_forms(body.structured_outputs.forms, "structured_outputs.")
    found += _structured_forms(body.guided_forms, "guided_")
    if len(found) > 1:
        raise InvalidRequestError(f"{found[1].field} and {found[0].field} exclude each other. Send only one.", found[1].field)
    return found[0] if found else None


def _structured_forms(forms: dict[str, Any], prefix: str) -> list[ContentForm]:
    return [structured_form(name, value, f"{prefix}{name}") for name, value in forms.items()]
