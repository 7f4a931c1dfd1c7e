"""The way in: from the body of `/v1/responses` to a protocol-neutral request."""

import uuid
from collections.abc import Iterator
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_server.api.fields import server_tools
from autotool_server.api.responses import history
from autotool_server.api.responses.items import ForeignItem
from autotool_server.api.responses.schemas import (
    AllowedTools,
    FunctionTool,
    NamedToolChoice,
    ObjectFormat,
    OtherTool,
    OtherToolChoice,
    ResponsesRequest,
    SchemaFormat,
    ServerTool,
)
from autotool_server.conversation import request as conversation
from autotool_server.conversation.messages import template_message
from autotool_server.conversation.request import (
    ClientTool,
    ConversationRequest,
    FieldNames,
    NamedTool,
    ToolBudget,
    ToolChoice,
)

SERVER_LABEL = "autotool"
"""The label under which server tools appear as tools of an MCP server."""

FIELDS = FieldNames(
    messages="input",
    content_format="text.format",
    content_schema="text.format.schema",
    max_tokens="max_output_tokens",
    effort="reasoning.effort",
    tool_approvals="input",
    decision="An mcp_approval_response in input",
    decide="Answer its mcp_approval_request with an mcp_approval_response.",
)


def conversation_request(body: ResponsesRequest) -> ConversationRequest:
    """Return the request that a body makes. Raises InvalidRequestError where it asks for what this server does not have."""
    _refuse_unsupported(body)
    return ConversationRequest(
        messages=_messages(body),
        id=f"resp_{uuid.uuid4().hex}",
        model=body.model,
        mode=body.mode,
        template_arguments=body.chat_template_kwargs or {},
        effort=body.reasoning.effort,
        reasoning_bias=body.reasoning_bias,
        target=body.cost_target,
        max_tokens=body.max_output_tokens,
        max_reasoning_tokens=body.max_reasoning_tokens,
        sampling=body.sampling,
        stop=body.stops,
        logprobs=body.top_logprobs if body.includes_logprobs else None,
        client_tools=[*_client_tools(body)],
        server_tools=server_tools(body.tools),
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls,
        tool_budget=_tool_budget(body),
        tool_approvals=history.approvals([*body.earlier, *body.items]),
        content_schema=_content_schema(body),
        fields=FIELDS,
        ignored=tuple(_ignored(body)),
    )


def _refuse_unsupported(body: ResponsesRequest) -> None:
    if body.conversation is not None:
        raise InvalidRequestError(
            "This server keeps no conversations. Send previous_response_id, or the earlier items in input.", "conversation"
        )
    if body.prompt is not None:
        raise InvalidRequestError("This server keeps no prompts. Send the text in instructions and input.", "prompt")
    if body.background and body.stream:
        raise InvalidRequestError("background cannot be combined with stream here. Send one of them.", "background")
    if not (body.items or body.earlier):
        raise InvalidRequestError("input is missing.", "input")


def _messages(body: ResponsesRequest) -> list[dict[str, Any]]:
    # The instructions of earlier responses do not carry over.
    instructions = [template_message("system", body.instructions)] if body.instructions is not None else []
    return [*instructions, *history.messages([*body.earlier, *body.items])]


def _client_tools(body: ResponsesRequest) -> Iterator[ClientTool]:
    for index, tool in enumerate(body.tools):
        if isinstance(tool, FunctionTool):
            yield ClientTool(tool.model_dump(exclude={"type"}, exclude_none=True), f"tools.{index}")


def _allowed_tools(body: ResponsesRequest, choice: AllowedTools) -> conversation.AllowedTools:
    """Return the tools that may be called. Raises InvalidRequestError if one of them is not given."""
    given = {tool.name for tool in body.tools if not isinstance(tool, OtherTool)}
    fields: dict[str, str] = {}
    for index, tool in enumerate(choice.tools):
        if tool.name is None or tool.name not in given:
            raise InvalidRequestError(
                "tool_choice allows a tool that is not in tools or that this server does not run.", f"tool_choice.tools.{index}"
            )
        fields[tool.name] = f"tool_choice.tools.{index}.name"
    return conversation.AllowedTools(fields, required=choice.mode == "required")


def _tool_choice(body: ResponsesRequest) -> ToolChoice | None:
    choice = body.tool_choice
    match choice:
        case OtherToolChoice():
            raise InvalidRequestError("tool_choice needs a tool that this server does not run.", "tool_choice")
        case NamedToolChoice():
            return NamedTool(choice.name)
        case AllowedTools():
            return _allowed_tools(body, choice)
        case _:
            pass
    if choice == "required" and body.tools and all(isinstance(tool, OtherTool) for tool in body.tools):
        raise InvalidRequestError("tool_choice requires a call, and this server runs none of the tools.", "tool_choice")
    # Clients send `auto` with no tools too.
    return None if choice == "auto" else choice


def _tool_budget(body: ResponsesRequest) -> ToolBudget | None:
    """Return the budget of server tools. Without such tools `max_tool_calls` bounds nothing, as in OpenAI's API."""
    given = body.tool_budget.model_dump() if body.tool_budget is not None else {}
    has_server_tools = any(isinstance(tool, ServerTool) for tool in body.tools)
    if body.max_tool_calls is not None and has_server_tools:
        given["max_calls"] = min(body.max_tool_calls, given.get("max_calls") or body.max_tool_calls)
    return ToolBudget(**given) if given else None


def _content_schema(body: ResponsesRequest) -> dict[str, Any] | bool | None:
    match body.text.format:
        case SchemaFormat(schema_=schema):
            return schema
        case ObjectFormat():
            return {"type": "object"}
        case _:
            return None


def _ignored(body: ResponsesRequest) -> Iterator[str]:
    """Yield what is left out of the body, by path and kind."""
    for index, item in enumerate(body.items):
        if isinstance(item, ForeignItem):
            yield f"input.{index}: {item.type}"
    for index, tool in enumerate(body.tools):
        if isinstance(tool, OtherTool):
            yield f"tools.{index}: {tool.type[:64]}"
