"""Requests to the Responses API, and checks of what comes back by the official types."""

import json
from typing import Any

import httpx
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from support.serving import MODEL, Running

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ADD: dict[str, Any] = {"type": "function", "name": "add", "parameters": {"type": "object"}}


async def post(server: Running, **body: Any) -> httpx.Response:
    """Send a request in `short`, if it does not say otherwise."""
    # There is no TLS here, and reading the certificates would take longer than the request.
    async with httpx.AsyncClient(timeout=60, verify=False) as client:  # noqa: S501
        return await client.post(f"{server.url}/responses", json={"model": MODEL, "input": "2+2?", "mode": "short"} | body)


async def ask(server: Running, **body: Any) -> dict[str, Any]:
    """Return a response object, checked by the official type."""
    answer = await post(server, **body)
    assert answer.status_code == 200, answer.text
    Response.model_validate_json(answer.content)
    return answer.json()


async def stream(server: Running, **body: Any) -> list[dict[str, Any]]:
    """Return the events of a stream, each checked by the official type."""
    answer = await post(server, stream=True, **body)
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENT.validate_python(event)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def kinds(response: dict[str, Any]) -> list[str]:
    """Return the types of the output's items."""
    return [item["type"] for item in response["output"]]


def text(response: dict[str, Any]) -> str:
    """Return the text of the output's messages."""
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])
