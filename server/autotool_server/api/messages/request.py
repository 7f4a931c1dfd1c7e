"""The way in: from the body of `/v1/messages` to a protocol-neutral request."""

import uuid
from dataclasses import dataclass
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode, split_alias
from autotool_server.api.fields import server_tools
from autotool_server.api.messages.history import billing_headers, template_messages
from autotool_server.api.messages.schemas import CountRequest, CustomTool, MessagesBody, MessagesRequest, OtherTool
from autotool_server.conversation.request import (
    ClientTool,
    ConversationRequest,
    FieldNames,
    NamedTool,
    RequestedSampling,
    ToolChoice,
)

FIELDS = FieldNames(
    content_format="output_config.format",
    content_schema="output_config.format.schema",
    effort="output_config.effort",
    max_reasoning_tokens="thinking.budget_tokens",
    stop="stop_sequences",
    parameters="input_schema",
)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the served model can do of what clients of this protocol take for granted."""

    decides: bool = True
    """Whether it can do `auto`; if not, adaptive thinking is the server's default mode."""
    reads_late_system: bool = True
    """Whether its chat template takes system messages after the first message."""


def conversation_request(body: MessagesRequest | CountRequest, abilities: Abilities = Abilities()) -> ConversationRequest:
    """Return the request that a body makes. Raises InvalidRequestError where two of its fields contradict each other."""
    return ConversationRequest(
        messages=template_messages(body, late_system="system" if abilities.reads_late_system else "user"),
        id=f"msg_{uuid.uuid4().hex}",
        model=body.model,
        mode=body.mode,
        mode_hints=_mode_hints(body, abilities),
        effort=body.output_config.effort,
        effort_sets_mode=body.thinking is None,
        reasoning_bias=body.reasoning_bias,
        target=body.cost_target,
        max_tokens=body.max_tokens,
        max_tokens_is_total=True,
        max_reasoning_tokens=_max_reasoning_tokens(body),
        sampling=RequestedSampling(temperature=body.temperature, top_p=body.top_p, top_k=body.top_k),
        stop=tuple(body.stop_sequences),
        client_tools=_client_tools(body),
        server_tools=server_tools(body.tools),
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.tool_choice is None or not body.tool_choice.disable_parallel_tool_use,
        tool_budget=body.tool_limits,
        can_ask_approval=False,
        content_schema=_content_schema(body),
        fields=FIELDS,
        ignored=tuple(_ignored(body)),
    )


def _mode_hints(body: MessagesBody, abilities: Abilities) -> dict[str, Mode]:
    """Return the mode that `thinking` asks for. Adaptive thinking leaves it open, so an alias of the model settles it."""
    if body.thinking is None:
        return {}
    fixed = {"enabled": Mode.LONG, "disabled": Mode.SHORT}.get(body.thinking.type)
    has_alias = split_alias(body.model)[1] is not None
    mode = fixed or (Mode.AUTO if abilities.decides and not has_alias else None)
    return {"thinking": mode} if mode is not None else {}


def _max_reasoning_tokens(body: MessagesRequest | CountRequest) -> int | None:
    budget = body.thinking.budget_tokens if body.thinking is not None else None
    if budget is None:
        return body.max_reasoning_tokens
    if body.max_reasoning_tokens not in (None, budget):
        raise InvalidRequestError(
            "max_reasoning_tokens and thinking.budget_tokens disagree. Send only one of them.", "max_reasoning_tokens"
        )
    if body.max_tokens is not None and budget >= body.max_tokens and not body.interleaves_thinking:
        raise InvalidRequestError(
            "max_tokens must be greater than thinking.budget_tokens, which it includes.", "thinking.budget_tokens"
        )
    return budget


def _client_tools(body: MessagesBody) -> list[ClientTool]:
    return [
        ClientTool(_function(tool), f"tools.{index}") for index, tool in enumerate(body.tools) if isinstance(tool, CustomTool)
    ]


def _function(tool: CustomTool) -> dict[str, Any]:
    """Return a tool as OpenAI's function object, which chat templates expect."""
    values = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema, "strict": tool.strict}
    return {name: value for name, value in values.items() if value is not None}


def _tool_choice(body: MessagesBody) -> ToolChoice | None:
    choice = body.tool_choice
    if choice is None or choice.type == "auto":
        return None
    if choice.type == "none":
        return "none"
    return NamedTool(choice.name) if choice.name is not None else "required"


def _content_schema(body: MessagesBody) -> dict[str, Any] | None:
    output_format = body.output_config.format or body.output_format
    return output_format.schema_ if output_format is not None else None


def _ignored(body: MessagesBody) -> list[str]:
    """Return what is left out of the body, by path; a tool's kind follows its path."""
    tools = [f"tools.{index}:{tool.type[:64]}" for index, tool in enumerate(body.tools) if isinstance(tool, OtherTool)]
    return [*billing_headers(body), *tools, *(["mcp_servers"] if body.mcp_servers else [])]
