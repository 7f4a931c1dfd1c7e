"""Tool loops of keys with a budget: each further turn must fit into what is left of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.keys import client_of, write_keys
from support.serving import MODEL, Running, scripted
from support.tools import QUESTION, Scripted, add, called, named, with_tools

from autotool_server.engines.base import EngineRequest

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "mode": "short", "max_tokens": 400, "tools": named("math.add")}
BUDGET = 2000


@asynccontextmanager
async def serving(
    folder: Path, tool: Scripted, num_calls: int = 15, **limits: Any
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """Serve a model that calls the tool with other arguments turn after turn, and then answers."""
    numbers = iter(range(num_calls))

    def text(_: EngineRequest) -> str:
        number = next(numbers, None)
        return "Well." if number is None else called("math.add", {"a": number, "b": 2})

    store = f"sqlite:///{folder / 'spend.db'}"
    keys = write_keys(folder, alice=limits)
    async with (
        with_tools(scripted(text), tool, keys=keys, spend_store=store) as server,
        client_of(server, "alice") as client,
    ):
        yield server, client


async def spent(server: Running, client: httpx.AsyncClient) -> int:
    await server.idle()
    return (await client.get("/v1/usage")).json()["today"]["total_tokens"]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_stream_ends_after_the_results_so_far(tmp_path: Path, period: str) -> None:
    tool = Scripted("math.add", add)
    async with serving(tmp_path, tool, **{f"tokens_per_{period}": BUDGET}) as (server, client):
        answer = await client.post(CHAT, json=ASKED | {"stream": True})
        found = events(answer.text)
        named_events = [event["autotool"]["event"] for event in found if "event" in (event.get("autotool") or {})]
        assert 1 < named_events.count("tool_result") == len(tool.calls) < 15
        assert named_events[-1] == "turn"
        [record] = [event["autotool"] for event in found if "stop_reason" in (event.get("autotool") or {})]
        assert record["stop_reason"] == "key_budget"
        assert len([message for message in record["transcript"] if message["role"] == "tool"]) == len(tool.calls)
        assert [choice["finish_reason"] for event in found for choice in event["choices"]][-1] == "length"
        assert answer.text.endswith("data: [DONE]\n\n")
        assert 0 < await spent(server, client) <= BUDGET
        # What was reserved and not used is free again.
        small = ASKED | {"tools": None, "max_tokens": 1}
        assert (await client.post(CHAT, json=small)).status_code == 200


async def test_a_whole_answer_has_the_results_so_far(tmp_path: Path) -> None:
    """An error would be sent again by clients, and calls that act would act twice."""
    tool = Scripted("math.add", add)
    async with serving(tmp_path, tool, tokens_per_day=BUDGET) as (server, client):
        answer = await client.post(CHAT, json=ASKED)
        assert answer.status_code == 200
        body = answer.json()
        assert (body["autotool"]["stop_reason"], body["choices"][0]["finish_reason"]) == ("key_budget", "length")
        assert len([message for message in body["autotool"]["transcript"] if message["role"] == "tool"]) == len(tool.calls)
        assert body["usage"]["total_tokens"] == await spent(server, client) <= BUDGET


async def test_a_responses_stream_ends_as_incomplete(tmp_path: Path) -> None:
    body = {"model": MODEL, "input": "?", "mode": "short", "max_output_tokens": 400, "tools": named("math.add"), "stream": True}
    async with serving(tmp_path, Scripted("math.add", add), tokens_per_day=BUDGET) as (_, client):
        found = events((await client.post("/v1/responses", json=body)).text)
    assert found[-1]["type"] == "response.incomplete"
    outputs = [item for item in found[-1]["response"]["output"] if item["type"] == "mcp_call"]
    assert len(outputs) > 1
    assert outputs[0]["output"] == "2"


async def test_a_budget_that_is_large_enough_and_rates_end_no_loop(tmp_path: Path) -> None:
    rates = {"requests_per_minute": 1, "tokens_per_minute": 800}
    async with serving(tmp_path, Scripted("math.add", add), 5, tokens_per_day=100_000, **rates) as (server, client):
        answer = await client.post(CHAT, json=ASKED)
        assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "Well.")
        assert await spent(server, client) == answer.json()["usage"]["total_tokens"] > 800
        refused = await client.post(CHAT, json=ASKED)
        assert "requests_per_minute" in refused.json()["error"]["message"] or "tokens_per_minute" in refused.text


async def test_the_turn_after_an_approval_must_fit_too(tmp_path: Path) -> None:
    async def say_much(_: Any) -> str:
        return "many words " * 120

    tool = Scripted("math.add", say_much, approval="always")
    async with serving(tmp_path, tool, 1, tokens_per_day=BUDGET) as (server, client):
        asked = (await client.post(CHAT, json=ASKED)).json()["autotool"]
        history = [*QUESTION, *asked["transcript"]]
        approvals = {call["id"]: True for call in asked["pending_calls"]}
        body = ASKED | {"messages": history, "tool_approvals": approvals, "stream": True}
        found = [event.get("autotool") or {} for event in events((await client.post(CHAT, json=body)).text)]
        assert any(record.get("event") == "tool_result" for record in found)
        assert found[-1]["stop_reason"] == "key_budget"
        assert await spent(server, client) <= BUDGET
