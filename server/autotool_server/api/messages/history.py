"""The conversation of a body as messages for the chat template, the same as those of chat completions."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from autotool_server.api.messages.reasoning import opened
from autotool_server.api.messages.schemas import (
    AssistantBlock,
    AssistantMessage,
    Message,
    MessagesBody,
    RedactedThinkingBlock,
    SystemMessage,
    Text,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from autotool_server.conversation.messages import template_message
from autotool_server.conversation.transcript import TURN_SEPARATOR
from autotool_server.tools.results import ERROR

BILLING_HEADER = "x-anthropic-billing-header:"
"""Begins a system block in which Claude Code names its version for Anthropic's bills; it changes from request to request."""
PART_SEPARATOR = "\n"
"""Stands between the text blocks of one message, as between the text parts of chat completions."""


def template_messages(body: MessagesBody, *, late_system: str = "system") -> list[dict[str, Any]]:
    """Return the messages. Those of one role in a row are one message, as in Anthropic's API.

    `late_system`: the role of instructions after the first message; `user` for a chat template that refuses them there.
    """
    system = PART_SEPARATOR.join(text for _, text in _system_texts(body) if not is_billing_header(text))
    messages = [template_message("system", system)] if system else []
    for message in _read_messages(body.messages):
        for part in _parts(message):
            if part["role"] == "system" and any(earlier["role"] != "system" for earlier in messages):
                part["role"] = late_system
            if messages and part["role"] == messages[-1]["role"] != "tool":
                messages[-1] = _joined(messages[-1], part)
            else:
                messages.append(part)
    return messages


def billing_headers(body: MessagesBody) -> list[str]:
    """Return the paths of the system blocks that are left out of the prompt."""
    return [path for path, text in _system_texts(body) if is_billing_header(text)]


def is_billing_header(text: str) -> bool:
    """Return whether a system block is not for the model."""
    return text.startswith(BILLING_HEADER)


def _system_texts(body: MessagesBody) -> list[tuple[str, str]]:
    """Return the path and text of every system block."""
    if isinstance(body.system, str):
        return [("system", body.system)]
    return [(f"system.{index}", block.text) for index, block in enumerate(body.system)]


def _read_messages(messages: Sequence[Message]) -> Iterator[Message]:
    """Yield the messages that the model reads: without the system messages that a later user message clears."""
    last_user = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    for index, message in enumerate(messages):
        is_cleared = isinstance(message, SystemMessage) and message.clear_at == "next_user_message" and index < last_user
        if not is_cleared:
            yield message


def _parts(message: Message) -> list[dict[str, Any]]:
    """Return a message for the template, and before it one for each result of a call in it."""
    if isinstance(message, AssistantMessage):
        return [_assistant(message)]
    if isinstance(message, UserMessage):
        return _user(message)
    return [template_message("system", _text(message.content))]


def _user(message: UserMessage) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [template_message("user", message.content)]
    results = [_result(block) for block in message.content if isinstance(block, ToolResultBlock)]
    texts = [block.text for block in message.content if isinstance(block, TextBlock)]
    return [*results, *([template_message("user", PART_SEPARATOR.join(texts))] if texts or not results else [])]


def _result(block: ToolResultBlock) -> dict[str, Any]:
    content = _text(block.content)
    if block.is_error and not content.startswith(ERROR):
        content = ERROR + content
    return template_message("tool", content, tool_call_id=block.tool_use_id)


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    blocks: Sequence[AssistantBlock] = message.content if isinstance(message.content, list) else []
    texts = [message.content] if isinstance(message.content, str) else [b.text for b in blocks if isinstance(b, TextBlock)]
    return template_message(
        "assistant",
        _of_turns(texts),
        reasoning=_of_turns(map(_reasoning, blocks)) or None,
        tool_calls=[_call(block) for block in blocks if isinstance(block, ToolUseBlock)],
    )


def _reasoning(block: AssistantBlock) -> str:
    if isinstance(block, ThinkingBlock):
        return block.thinking or opened(block.signature)
    return opened(block.data) if isinstance(block, RedactedThinkingBlock) else ""


def _call(block: ToolUseBlock) -> dict[str, Any]:
    function = {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}
    return {"id": block.id, "type": "function", "function": function}


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return two messages of one role as one."""
    if first["role"] != "assistant":
        return template_message(first["role"], PART_SEPARATOR.join((first["content"], second["content"])))
    return template_message(
        "assistant",
        _of_turns((first["content"], second["content"])),
        reasoning=_of_turns((first.get("reasoning", ""), second.get("reasoning", ""))) or None,
        tool_calls=[*first.get("tool_calls", ()), *second.get("tool_calls", ())],
    )


def _of_turns(texts: Iterable[str]) -> str:
    """Return the texts of several turns as one, as they stand in one answer over chat completions."""
    return TURN_SEPARATOR.join(filter(None, texts))


def _text(content: Text) -> str:
    return content if isinstance(content, str) else PART_SEPARATOR.join(block.text for block in content)
