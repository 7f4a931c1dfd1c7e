"""The events of a stream: OpenAI's order, sequence numbers, and the same items as in the whole answer."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from support.responses import ADD, ask, kinds, stream
from support.serving import MODEL, failing, held, running, scripted
from support.tools import ADD_1_2, adder, called, named, with_tools

REASONING = "Hm.\n</think>\n\n"
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'
START = ["created", "in_progress"]
MESSAGE = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
DONE = ["output_item.done"]


def order(events: list[dict[str, Any]]) -> list[str]:
    """Return the types of events, deltas of one text once."""
    types = [event["type"].removeprefix("response.") for event in events]
    return [kind for at, kind in enumerate(types) if at == 0 or kind != types[at - 1]]


def without_ids(response: dict[str, Any]) -> Any:
    """Return a response without what is new in every one."""
    names = {"id", "call_id", "created_at", "completed_at", "seconds", "overlap_seconds", "timings"}

    def strip(value: Any) -> Any:
        if isinstance(value, list):
            return [strip(item) for item in value]
        return {key: strip(item) for key, item in value.items() if key not in names} if isinstance(value, dict) else value

    return strip(response)


async def test_reasoning_message_and_call_follow_each_other() -> None:
    async with running(scripted(f"{REASONING}Adding.\n{CALL}")) as server:
        events = await stream(server, mode="long", tools=[ADD])
        whole = await ask(server, mode="long", tools=[ADD])
    assert order(events) == [
        *START,
        *["output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done"],
        *DONE,
        *MESSAGE,
        *DONE,
        *["output_item.added", "function_call_arguments.delta", "function_call_arguments.done"],
        *DONE,
        "completed",
    ]
    assert without_ids(events[-1]["response"]) == without_ids(whole)
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.done"] == [0, 1, 2]
    texts = {kind: "".join(e["delta"] for e in events if e["type"] == f"response.{kind}.delta") for kind in ("output_text",)}
    assert texts == {"output_text": "Adding."}
    for event in events:
        if "item_id" in event:
            assert event["item_id"] == events[-1]["response"]["output"][event["output_index"]]["id"]


async def test_a_summary_has_events_of_its_own() -> None:
    async with running(scripted(f"{REASONING}Four.")) as server:
        events = await stream(server, mode="long", reasoning={"summary": "detailed"})
    kinds_of_summary = [kind for kind in dict.fromkeys(order(events)) if "summary" in kind]
    assert kinds_of_summary == [
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    deltas = [event["delta"] for event in events if event["type"] == "response.reasoning_summary_text.delta"]
    assert "".join(deltas) == "Hm."


async def test_a_call_of_a_server_tool_is_told_step_by_step() -> None:
    async with with_tools(scripted(f"First. {ADD_1_2}", "It is 3."), adder()) as server:
        events = await stream(server, tools=named("math.add"))
        await server.idle()
    assert order(events) == [
        *START,
        *MESSAGE,
        *DONE,
        *["output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done"],
        "mcp_call.completed",
        *DONE,
        *MESSAGE,
        *DONE,
        "completed",
    ]
    assert json.loads(next(event["arguments"] for event in events if "arguments" in event)) == {"a": 1, "b": 2}
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "First.It is 3."


async def test_a_call_that_fails_says_so() -> None:
    async with with_tools(scripted(called("math.add", {}), "No."), adder()) as server:
        events = await stream(server, tools=named("math.add"))
    assert "mcp_call.failed" in order(events)
    assert kinds(events[-1]["response"]) == ["mcp_call", "message"]


async def test_a_call_that_does_not_end_is_incomplete() -> None:
    async with running(scripted(CALL.split("}", maxsplit=1)[0])) as server:
        response = (await stream(server, tools=[ADD]))[-1]["response"]
    assert [item["status"] for item in response["output"]] == ["incomplete"]


async def test_calls_that_are_cut_are_incomplete_items() -> None:
    async with running(scripted(CALL)) as server:
        events = await stream(server, tools=[ADD], max_output_tokens=30)
    assert events[-1]["type"] == "response.incomplete"
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["incomplete"]


@pytest.mark.parametrize("after", [0, 3])
async def test_a_failure_of_the_engine_fails_the_response(after: int) -> None:
    engine = scripted("Four.")
    failing(engine, after)
    async with running(engine) as server, httpx.AsyncClient() as client:
        body = {"model": MODEL, "input": "?", "mode": "short", "stream": True}
        answer = await client.post(f"{server.url}/responses", json=body)
        await server.idle()
        if after == 0:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_error")
            return
        events = [json.loads(block.split("data: ")[1]) for block in answer.text.strip().split("\n\n")]
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert (events[-2]["message"], events[-2]["code"]) == ("The engine is gone.", "engine_error")
        failed = events[-1]["response"]
        assert failed["error"] == {"code": "server_error", "message": "The engine is gone."}
        assert [(item["status"], item["content"][0]["text"]) for item in failed["output"]] == [("incomplete", "Fou")]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_a_client_that_leaves_ends_the_generation() -> None:
    engine = scripted("x" * 100)
    held(engine, after=3)
    async with running(engine) as server:
        events = await server.client.responses.create(model=f"{MODEL}:short", input="?", stream=True)
        async with asyncio.timeout(10):
            assert (await anext(aiter(events))).type == "response.created"
        await events.close()
        await server.idle()
        assert len(engine.aborted) == 1
