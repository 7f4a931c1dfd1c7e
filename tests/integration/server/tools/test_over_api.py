"""Calls of tools of real MCP servers through the official client, and acceptance of a changed tool by the operator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.engines import until
from support.mcp_served import SECRETS, Served, serve
from support.mcp_servers import spoil
from support.serving import MODEL, Running, running, scripted
from support.tools import called, named

from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.tools.registry import Registry

QUESTION: list[Any] = [{"role": "user", "content": "1 + 2?"}]
WAYS = ("stdio", "http")


class Started:
    """A source that has been started before."""

    def __init__(self, source: Any) -> None:
        self.source = source

    @property
    def tools(self) -> Any:
        return self.source.tools

    async def start(self) -> None:
        """Do nothing: the source has been started before."""

    async def stop(self) -> None:
        await self.source.stop()

    def accept(self, name: str) -> None:
        self.source.accept(name)


@asynccontextmanager
async def with_mcp(way: str, folder: Path, engine: ScriptedEngine, **settings: Any) -> AsyncIterator[tuple[Served, Running]]:
    """A real MCP server, and a server with its tools over a scripted engine."""
    async with (
        serve(way, "2026", folder) as served,
        Registry([Started(served.source)], SECRETS) as registry,
        running(engine, registry=registry, **settings) as server,
    ):
        yield served, server


@pytest.mark.parametrize("way", WAYS)
async def test_a_model_calls_tools_of_an_mcp_server(way: str, tmp_path: Path) -> None:
    texts = (called("t.add", {"a": 1, "b": 2}), f"{called('t.fail', {})}\n{called('t.add', {'a': 3, 'b': 4})}", "It is 7.")
    engine = scripted(*texts)
    async with with_mcp(way, tmp_path, engine) as (_, server):
        create: Any = server.client.chat.completions.create
        answer = await create(model=MODEL, messages=QUESTION, tools=named("t.*"), extra_body={"mode": "short"})
    assert answer.choices[0].message.content == "It is 7."
    results = [message["content"] for message in answer.autotool["transcript"] if message["role"] == "tool"]
    assert results == ["3", "Error: no such city", "7"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_changed_tool_is_refused_until_the_operator_accepts_it(way: str, tmp_path: Path) -> None:
    engine = scripted(called("t.add", {"a": 1, "b": 2}), "It is 3.")
    async with with_mcp(way, tmp_path, engine, admin_key="operator") as (served, server):
        create: Any = server.client.chat.completions.create
        await served.call("change", state="schema")
        await until(lambda: served.tool("add").spec.disabled is not None)
        with pytest.raises(openai.BadRequestError, match="disabled"):
            await create(model=MODEL, messages=QUESTION, tools=named("t.add"), extra_body={"mode": "short"})
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.post("/tools/t.add/accept")).status_code == 401
            asked = {"Authorization": "Bearer operator"}
            assert (await client.post("/tools/t.nothing/accept", headers=asked)).status_code == 404
            unread = await client.post("/tools/t.add/accept", headers=asked, params={"fingerprint": "0"})
            assert (unread.status_code, unread.json()["error"]["param"]) == (409, "fingerprint")
            listed = (await client.get("/tools")).json()["data"]
            (fingerprint,) = [tool["fingerprint"] for tool in listed if tool["name"] == "t.add"]
            accepted = await client.post("/tools/t.add/accept", headers=asked, params={"fingerprint": fingerprint})
        assert accepted.json()["disabled"] is None
        answer = await create(model=MODEL, messages=QUESTION, tools=named("t.add"), extra_body={"mode": "short"})
    assert answer.choices[0].message.content == "It is 3."


async def test_a_bad_tool_is_listed_with_its_reason_and_cannot_be_accepted(tmp_path: Path) -> None:
    spoil(tmp_path, more=[{"name": "no schema/", "description": "Reads."}])
    async with with_mcp("http", tmp_path, scripted(called("t.add", {"a": 1, "b": 2}), "3."), admin_key="operator") as (
        _,
        server,
    ):
        create: Any = server.client.chat.completions.create
        async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": "Bearer operator"}) as client:
            (bad,) = [tool for tool in (await client.get("/tools")).json()["data"] if tool["disabled"]]
            assert (bad["name"], bad["description"]) == ("t.no_schema_", "Reads.")
            assert "inputSchema: Field required" in bad["disabled"]
            refused = await client.post(f"/tools/{bad['name']}/accept", params={"fingerprint": bad["fingerprint"]})
            assert (refused.status_code, refused.json()["error"]["param"]) == (409, "name")
        answer = await create(model=MODEL, messages=QUESTION, tools=named("t.*"), extra_body={"mode": "short"})
    assert answer.choices[0].message.content == "3."


async def test_without_an_operators_key_nothing_can_be_accepted() -> None:
    async with running(scripted("Hi.")) as server, httpx.AsyncClient(base_url=server.url) as client:
        refused = await client.post("/tools/t.add/accept", headers={"Authorization": "Bearer x"})
    assert refused.status_code == 401
    assert "AUTOTOOL_ADMIN_KEY" in refused.json()["error"]["message"]
