"""A key runs no server tool that it may not use, whichever way it asks."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route
from support.keys import client_of, write_keys
from support.serving import MODEL, Running, scripted
from support.tools import ADD_1_2, QUESTION, Scripted, add, adder, named, with_tools

from autotool_server.api.app import create_app
from autotool_server.api.ops import not_served
from autotool_server.api.state import ServerState
from autotool_server.settings import Settings

ADD, SUB = named("math.add"), named("math.sub")
CHAT: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "mode": "short"}
RESPONSES: dict[str, Any] = {"model": MODEL, "input": "1+2?", "mode": "short"}
TAKE_TOOLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/chat/completions/quote": CHAT,
    "/v1/messages": CHAT | {"max_tokens": 99},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": QUESTION},
    "/v1/responses": RESPONSES,
    "/tokenize": {"model": MODEL, "messages": QUESTION},
}
"""A body for every route whose requests may name tools."""
TAKE_NONE = {
    "/detokenize",
    "/ping",
    "/v1/completions",
    "/v1/decisions",
    "/v1/feedback",
    "/v1/responses/compact",
    "/v1/responses/{response_id}/cancel",
    "/v1/tools/{name}/accept",  # of the operator, whom no client's key makes
}

Served = tuple[Running, Scripted, Scripted]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server with two tools: alice may use both, mallory the one that needs no approval."""
    keys = write_keys(tmp_path, alice={}, mallory={"tools": ["math.sub"]})
    store = f"sqlite:///{tmp_path / 'r.db'}"
    guarded, free = adder(approval="always"), Scripted("math.sub", add)
    async with with_tools(scripted(*[ADD_1_2] * 20), guarded, free, keys=keys, response_store=store) as server:
        yield server, guarded, free


def test_every_route_that_takes_a_body_is_known_here() -> None:
    routes = [route for route in create_app(ServerState(Settings())).routes if isinstance(route, Route)]
    elsewhere = {route.path for route in not_served.router.routes if isinstance(route, Route)}
    ours = {route.path for route in routes if "POST" in (route.methods or ())} - elsewhere
    assert ours == TAKE_TOOLS.keys() | TAKE_NONE


@pytest.mark.parametrize("path", TAKE_TOOLS)
@pytest.mark.parametrize("name", ["math.add", "math.*"])
async def test_naming_a_tool_is_a_403_on_every_route(served: Served, path: str, name: str) -> None:
    server, guarded, _ = served
    async with client_of(server, "mallory") as client:
        refused = await client.post(path, json=TAKE_TOOLS[path] | {"tools": [*SUB, *named(name)]})
    assert refused.status_code == 403, refused.text
    assert "may not use the server tool math.add" in refused.text
    assert guarded.calls == []


async def test_a_call_of_a_tool_that_was_not_named_is_not_run(served: Served) -> None:
    server, guarded, _ = served
    async with client_of(server, "mallory") as client:
        answer = (await client.post("/v1/chat/completions", json=CHAT | {"tools": SUB})).json()
    (first, *_) = answer["autotool"]["turns"]
    assert [execution["outcome"] for execution in first["executions"]] == ["unknown_tool"]
    assert guarded.calls == []


TOOLS_OF_MALLORY = {"none": [], "another": SUB, "the call's": ADD}


@pytest.mark.parametrize("tools", TOOLS_OF_MALLORY.values(), ids=TOOLS_OF_MALLORY)
async def test_approving_the_call_of_another_key_does_not_run_it(served: Served, tools: list[Any]) -> None:
    server, guarded, _ = served
    async with client_of(server, "alice") as alice, client_of(server, "mallory") as mallory:
        asked = (await alice.post("/v1/chat/completions", json=CHAT | {"tools": ADD})).json()["autotool"]
        approvals = {call["id"]: True for call in asked["pending_calls"]}
        body = CHAT | {"messages": [*QUESTION, *asked["transcript"]], "tool_approvals": approvals}
        refused = await mallory.post("/v1/chat/completions", json=body | {"tools": tools})
        assert refused.status_code == (403 if tools == ADD else 400), refused.text
        assert guarded.calls == []
        assert (await alice.post("/v1/chat/completions", json=body | {"tools": ADD})).status_code == 200
        assert len(guarded.calls) == 1  # alice's approval runs it


async def waiting(client: httpx.AsyncClient) -> tuple[str, list[Any]]:
    """Have a call wait for approval. Return the id of the response, and the call with an approval."""
    made = (await client.post("/v1/responses", json=RESPONSES | {"tools": ADD})).json()
    (request,) = [item for item in made["output"] if item["type"] == "mcp_approval_request"]
    return made["id"], [request, {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}]


@pytest.mark.parametrize("tools", TOOLS_OF_MALLORY.values(), ids=TOOLS_OF_MALLORY)
@pytest.mark.parametrize("way", ["follow", "refer", "copy"])
async def test_approving_a_stored_call_of_another_key_does_not_run_it(served: Served, way: str, tools: list[Any]) -> None:
    server, guarded, _ = served
    async with client_of(server, "alice") as alice, client_of(server, "mallory") as mallory:
        stored, (request, approval) = await waiting(alice)
        question = {"role": "user", "content": "1+2?"}
        reference = {"type": "item_reference", "id": request["id"]}
        bodies: dict[str, dict[str, Any]] = {
            "follow": {"previous_response_id": stored, "input": [approval]},
            "refer": {"input": [question, reference, approval]},
            "copy": {"input": [question, request, approval]},
        }
        body = RESPONSES | bodies[way]
        refused = await mallory.post("/v1/responses", json=body | {"tools": tools})
        assert refused.status_code == (403 if (way, tools) == ("copy", ADD) else 400), refused.text
        assert guarded.calls == []
        assert (await alice.post("/v1/responses", json=body | {"tools": ADD})).status_code == 200
        assert len(guarded.calls) == 1


async def test_only_the_operators_key_accepts_a_tool(served: Served) -> None:
    server, _, _ = served
    async with client_of(server, "mallory") as client:
        assert (await client.post("/v1/tools/math.add/accept")).status_code == 401
        assert [tool["name"] for tool in (await client.get("/v1/tools")).json()["data"]] == ["math.sub"]
