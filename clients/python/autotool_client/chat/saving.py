"""Write a conversation to a file: JSON by a name that ends in `.json`, else Markdown."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from autotool_client.chat.conversation import Conversation
from autotool_client.chat.screen import call_text
from autotool_core.errors import AutoToolError


def save(conversation: Conversation, name: str) -> Path:
    """Write the conversation and return its path; without a name it is made of the time.

    Raises AutoToolError if the file exists or cannot be written.
    """
    path = Path(name or f"chat-{datetime.now():%Y%m%d-%H%M%S}.md").expanduser()
    text = _as_json(conversation) if path.suffix == ".json" else _as_markdown(conversation)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise AutoToolError(f"{path} exists; give another name.") from error
    except OSError as error:
        raise AutoToolError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def _messages(conversation: Conversation) -> list[Mapping[str, Any]]:
    system = [{"role": "system", "content": conversation.system}] if conversation.system else []
    return [*system, *conversation.messages]


def _as_json(conversation: Conversation) -> str:
    """Return the request that would ask for the next answer, without its question."""
    request = {"model": conversation.model, "messages": _messages(conversation)}
    settings = {
        "mode": conversation.mode,
        "reasoning_bias": conversation.bias,
        "max_reasoning_tokens": conversation.budget,
        "tools": [{"type": "server", "name": name} for name in conversation.tools] or None,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    return json.dumps(request | given, ensure_ascii=False, indent=2) + "\n"


def _as_markdown(conversation: Conversation) -> str:
    parts = [f"# Chat with {conversation.model}", *(part for message in _messages(conversation) for part in _part(message))]
    return "\n\n".join(parts) + "\n"


def _part(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paragraphs of a message."""
    yield f"## {message['role'].capitalize()}"
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        yield "\n".join(f"> {line}".rstrip() for line in thought.strip().split("\n"))
    if content := (message.get("content") or "").strip():
        yield content
    for call in message.get("tool_calls") or ():
        yield f"Calls `{call_text(call['function']['name'], call['function']['arguments'])}`"
