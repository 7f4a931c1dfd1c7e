"""Messages of the body as chat templates take them."""

from collections.abc import Iterator, Sequence
from typing import Any

from autotool_server.api.chat_completions.messages import AssistantMessage, FunctionMessage, Message, ToolMessage, plain_text
from autotool_server.conversation.messages import template_message


def template_messages(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Yield each message for the chat template. A `function_call` becomes a tool call, whose result has its id."""
    for number, message in enumerate(messages):
        content = plain_text(message.content)
        match message:
            case ToolMessage():
                yield template_message("tool", content, tool_call_id=message.tool_call_id, name=message.name)
            case FunctionMessage():
                yield template_message("tool", content, tool_call_id=_legacy_id(number - 1), name=message.name)
            case AssistantMessage():
                yield _answer(message, content, number)
            case _:
                yield template_message(message.role, content, name=message.name)


def _answer(message: AssistantMessage, content: str, number: int) -> dict[str, Any]:
    calls = [call.model_dump() for call in message.tool_calls]
    if message.function_call is not None and not calls:
        calls = [{"id": _legacy_id(number), "type": "function", "function": message.function_call.model_dump()}]
    return template_message(
        "assistant",
        content or message.refusal,
        reasoning=message.reasoning_content if message.reasoning is None else message.reasoning,
        tool_calls=calls,
        name=message.name,
    )


def _legacy_id(number: int) -> str:
    """Return the id of the call in message number `number`: a `function_call` has none."""
    return f"call_{number}"
