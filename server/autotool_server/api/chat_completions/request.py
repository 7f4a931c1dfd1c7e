"""The way in: from the body of `/v1/chat/completions` to a protocol-neutral request."""

import uuid
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import MODE_OF_THINKING, Mode
from autotool_server.api.chat_completions.schemas import (
    AssistantMessage,
    ChatRequest,
    FunctionTool,
    Message,
    NamedToolChoice,
    ServerTool,
    ToolMessage,
    plain_text,
)
from autotool_server.conversation.messages import template_message
from autotool_server.conversation.request import (
    ClientTool,
    ConversationRequest,
    FieldNames,
    NamedTool,
    ServerToolName,
    ToolBudget,
    ToolChoice,
)
from autotool_server.engines.base import Sampling

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
    return ConversationRequest(
        messages=[_message(message) for message in body.messages],
        id=f"chatcmpl-{uuid.uuid4().hex}",
        model=body.model,
        mode=body.mode,
        mode_hints=_mode_hints(body),
        effort=body.reasoning_effort,
        reasoning_bias=body.reasoning_bias,
        max_tokens=_max_tokens(body),
        max_reasoning_tokens=body.max_reasoning_tokens,
        sampling=_sampling(body),
        stop=body.stops,
        logprobs=_logprobs(body),
        num_choices=body.n,
        client_tools=[
            ClientTool(tool.function.model_dump(exclude_none=True), f"tools.{index}.function")
            for index, tool in enumerate(body.tools)
            if isinstance(tool, FunctionTool)
        ],
        server_tools=[
            ServerToolName(tool.name, f"tools.{index}.name")
            for index, tool in enumerate(body.tools)
            if isinstance(tool, ServerTool)
        ],
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls,
        tool_budget=ToolBudget(**body.tool_budget.model_dump()) if body.tool_budget is not None else None,
        content_schema=_content_schema(body),
        fields=FIELDS,
    )


def _message(message: Message) -> dict[str, Any]:
    content = plain_text(message.content)
    if isinstance(message, ToolMessage):
        return template_message(message.role, content, tool_call_id=message.tool_call_id, name=message.name)
    if not isinstance(message, AssistantMessage):
        return template_message(message.role, content, name=message.name)
    return template_message(
        message.role,
        content or message.refusal,
        reasoning=message.reasoning_content if message.reasoning is None else message.reasoning,
        tool_calls=[call.model_dump(exclude={"index"}) for call in message.tool_calls],
        name=message.name,
    )


def _mode_hints(body: ChatRequest) -> dict[str, Mode]:
    thinking = body.chat_template_kwargs.enable_thinking if body.chat_template_kwargs is not None else None
    return {"chat_template_kwargs": MODE_OF_THINKING[thinking]} if thinking is not None else {}


def _max_tokens(body: ChatRequest) -> int | None:
    if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
        raise InvalidRequestError("max_tokens and max_completion_tokens disagree. Send only the latter.", "max_tokens")
    return body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens


def _sampling(body: ChatRequest) -> Sampling:
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=max(body.top_k, 0),
        min_p=body.min_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        seed=body.seed,
        logit_bias={int(token_id): bias for token_id, bias in (body.logit_bias or {}).items()},
    )


def _logprobs(body: ChatRequest) -> int | None:
    if body.top_logprobs is not None and not body.logprobs:
        raise InvalidRequestError("top_logprobs is only allowed with logprobs=true.", "top_logprobs")
    return (body.top_logprobs or 0) if body.logprobs else None


def _tool_choice(body: ChatRequest) -> ToolChoice | None:
    choice = body.tool_choice
    return NamedTool(choice.function.name) if isinstance(choice, NamedToolChoice) else choice


def _content_schema(body: ChatRequest) -> dict[str, Any] | bool | None:
    response_format = body.response_format
    if response_format is None or response_format.type == "text":
        return None
    return response_format.json_schema.schema_ if response_format.json_schema is not None else {"type": "object"}
