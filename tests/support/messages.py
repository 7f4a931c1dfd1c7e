"""Requests to Anthropic's Messages over a running server, and what is in their answers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from anthropic import AsyncAnthropic
from anthropic.types import Message

from support.serving import MODEL, Running
from support.tools import called

THOUGHT = "Two and two.\n</think>\n\n"
CALL = called("add", {"a": 2})
ADD: Any = {"name": "add", "input_schema": {"type": "object"}}
USER: Any = [{"role": "user", "content": "2+2?"}]


@asynccontextmanager
async def client_of(server: Running, **options: Any) -> AsyncIterator[AsyncAnthropic]:
    """Yield the official client of a server."""
    options = {"api_key": "none", "max_retries": 0} | options
    async with AsyncAnthropic(base_url=server.url.removesuffix("/v1"), **options) as client:
        yield client


async def ask(server: Running, mode: str | None = None, **fields: Any) -> Message:
    """Return the answer to a request through the official client. `extra`: fields that are not Anthropic's."""
    fields = {"model": MODEL, "max_tokens": 200, "messages": USER} | fields
    extra = {**({"mode": mode} if mode else {}), **fields.pop("extra", {})}
    async with client_of(server) as client:
        return await client.messages.create(extra_body=extra, **fields)


async def events(server: Running, **fields: Any) -> list[dict[str, Any]]:
    """Return the events as they are on the wire."""
    body = {"model": MODEL, "max_tokens": 200, "messages": USER, "stream": True} | fields
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{server.url}/messages?beta=true", json=body)
    found: list[dict[str, Any]] = []
    for part in response.text.strip().split("\n\n"):
        kind, data = part.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def record(message: Message) -> dict[str, Any]:
    """Return the decision record of an answer."""
    assert message.model_extra is not None
    return message.model_extra["autotool"]


def shown(message: Message) -> list[tuple[Any, ...]]:
    """Return the kinds of blocks and what is in them."""
    keys = {"text": "text", "thinking": "thinking", "tool_use": "input"}
    return [(block.type, getattr(block, keys[block.type])) for block in message.content]
