"""What of a request is stored: its input items, each with an id and in the form in which OpenAI lists them."""

import uuid
from collections.abc import Iterable
from typing import Any

from autotool_server.api.responses.items import InputItem

PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
}


def stored_items(items: Iterable[InputItem]) -> list[dict[str, Any]]:
    """Return the items as JSON values, with whatever the client wrote into them."""
    return [_stored(item.model_dump(mode="json", exclude_unset=True)) for item in items]


def _stored(item: dict[str, Any]) -> dict[str, Any]:
    kind = item["type"]
    defaults: dict[str, Any] = {"id": f"{PREFIXES.get(kind, 'item')}_{uuid.uuid4().hex}", "status": "completed"}
    if kind == "reasoning":
        defaults["summary"] = []
    if kind == "message":
        item = {**item, "content": _parts(item)}
    return defaults | item


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    if not isinstance(content, str):
        return content
    if message["role"] == "assistant":
        return [{"type": "output_text", "text": content, "annotations": []}]
    return [{"type": "input_text", "text": content}]
