"""A real HTTP service on loopback, with tools from its OpenAPI document and from single endpoints."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, Tool, ToolError, ToolSource
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.http import HttpEntry, HttpSource
from autotool_server.tools.sources.openapi import OpenApiEntry, OpenApiSource

KEY = "key-of-the-shop"
SECRETS = Secrets({"KEY": KEY})
HEADERS = {"X-Key": "${KEY}"}


class Item(BaseModel):
    name: str
    price: float | None = None
    parts: list["Item"] = []


@dataclass
class Shop:
    """The address of the service, and the requests that it received."""

    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    left: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0


def service(shop: Shop) -> FastAPI:
    app = FastAPI()
    add_items(app)
    add_trouble(app, shop)

    @app.middleware("http")
    async def keep(request: Request, proceed: Any) -> Response:
        shop.headers.append(dict(request.headers))
        return await proceed(request)

    return app


def add_items(app: FastAPI) -> None:
    items: dict[int, Item] = {1: Item(name="pen")}

    @app.get("/items/{number}", operation_id="getItem")
    async def get_item(number: int, verbose: bool = False) -> Item:
        """One item of the shop."""
        if number not in items:
            raise HTTPException(404, f"no item {number}")
        return items[number]

    @app.get("/items/{number}/secret", include_in_schema=False)
    async def secret(number: str) -> str:
        return "secret"

    @app.put("/items/{number}", operation_id="putItem")
    async def put_item(number: int, item: Item) -> Item:
        items[number] = item
        return item

    @app.get("/find", operation_id="find")
    async def find(tag: str, limit: int | None = None) -> dict[str, Any]:
        return {"tag": tag, "limit": limit}


def add_trouble(app: FastAPI, shop: Shop) -> None:
    @app.get("/away", operation_id="away")
    async def away() -> Response:
        return RedirectResponse("/items/1")

    @app.get("/latin", operation_id="latin")
    async def latin() -> Response:
        return Response(b"caf\xe9", media_type="text/plain")

    @app.get("/large", operation_id="large")
    async def large() -> Response:
        return StreamingResponse(megabytes(shop))

    @app.get("/slow", operation_id="slow")
    async def slow() -> Response:
        return StreamingResponse(hang(shop))


async def megabytes(shop: Shop) -> AsyncIterator[bytes]:
    for _ in range(50):
        shop.sent += 1_000_000
        yield b"x" * 1_000_000


async def hang(shop: Shop) -> AsyncIterator[bytes]:
    try:
        yield b"begun"
        await asyncio.sleep(3600)
    finally:
        shop.left.set()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    listening = socket.create_server(("127.0.0.1", 0))
    shop = Shop(f"http://127.0.0.1:{listening.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(service(shop), log_level="error"))
    running = asyncio.create_task(server.serve([listening]))
    yield shop
    server.should_exit = True
    await running


@pytest.fixture
async def tools(shop: Shop) -> AsyncIterator[dict[str, Tool]]:
    source = OpenApiSource("shop", OpenApiEntry(document=f"{shop.url}/openapi.json", headers=HEADERS), SECRETS)
    async for found in started(source):
        yield found


async def started(source: ToolSource) -> AsyncIterator[dict[str, Tool]]:
    await source.start()
    yield {tool.spec.name: tool for tool in source.tools}
    await source.stop()


async def test_operations_of_its_own_document(tools: dict[str, Tool], shop: Shop) -> None:
    assert set(tools) == {f"shop.{name}" for name in ("getItem", "putItem", "find", "away", "latin", "large", "slow")}
    spec = tools["shop.putItem"].spec
    assert spec.parameters["required"] == ["number", "name"]
    assert spec.parameters["properties"]["parts"]["items"] == {"$ref": "#/$defs/Item-Input"}
    assert tools["shop.getItem"].spec.description == "Get Item\nOne item of the shop."
    pens = {"name": "pens", "price": 1.5, "parts": [{"name": "pen"}]}
    assert await tools["shop.putItem"].call({"number": 2, **pens})
    assert await tools["shop.getItem"].call({"number": 2, "verbose": True}) == (
        b'{"name":"pens","price":1.5,"parts":[{"name":"pen","price":null,"parts":[]}]}'
    )
    assert await tools["shop.find"].call({"tag": "a&limit=9 ü", "limit": None}) == '{"tag":"a&limit=9 ü","limit":null}'.encode()


async def test_what_it_is_sent(tools: dict[str, Tool], shop: Shop) -> None:
    """A request has the operator's header and those of HTTP, and none of the client's."""
    await tools["shop.getItem"].call({"number": 1})
    for headers in shop.headers:
        assert set(headers) == {"host", "accept", "accept-encoding", "connection", "user-agent", "x-key"}
        assert headers["x-key"] == KEY


async def test_errors(tools: dict[str, Tool]) -> None:
    with pytest.raises(ToolError, match=r'^HTTP 404: {"detail":"no item 7"}$'):
        await tools["shop.getItem"].call({"number": 7})
    with pytest.raises(ToolError, match=r"^HTTP 307$"):
        await tools["shop.away"].call({})
    with pytest.raises(ToolError, match="must hold no '/'"):  # uvicorn would decode %2F, and another route would answer
        await tools["shop.getItem"].call({"number": "1/secret"})
    assert await tools["shop.latin"].call({}) == b"caf\xe9"


async def test_fifty_megabytes(tools: dict[str, Tool], shop: Shop) -> None:
    tool: Any = tools["shop.large"]
    with pytest.raises(OversizeError):
        await tool.call({})
    assert not tool.client._transport._pool.connections, "a connection is kept, half read"
    assert shop.sent < 20_000_000, "it went on reading"


async def test_cancelled(tools: dict[str, Tool], shop: Shop) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await tools["shop.slow"].call({})
    async with asyncio.timeout(10):
        await shop.left.wait()


async def test_every_endpoint(shop: Shop) -> None:
    parameters = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    endpoints = [{"name": "get", "path": "/{number}", "description": "An item.", "parameters": parameters}]
    entry = HttpEntry.model_validate({"base_url": f"{shop.url}/items/", "headers": HEADERS, "endpoints": endpoints})
    async for tools in started(HttpSource("shop", entry, SECRETS)):
        assert await tools["shop.get"].call({"number": 1}) == b'{"name":"pen","price":null,"parts":[]}'
    assert shop.headers[-1]["x-key"] == KEY


async def test_headers_stay_with_the_base_url(shop: Shop) -> None:
    """A document on another host is requested without the secrets of the service."""
    entry = OpenApiEntry(document=f"{shop.url}/openapi.json", base_url="https://shop.test", headers=HEADERS)
    async for _ in started(OpenApiSource("shop", entry, SECRETS)):
        assert "x-key" not in shop.headers[-1]


@pytest.mark.parametrize(
    ("path", "reason"), [("/none.json", "HTTP 404"), ("/away", "HTTP 307"), ("/large", "ToolError|Oversize")]
)
async def test_invalid_documents(shop: Shop, path: str, reason: str) -> None:
    source = OpenApiSource("shop", OpenApiEntry(document=shop.url + path), SECRETS)
    with pytest.raises(AutoToolError, match=rf"\[openapi.shop\]: the document cannot be read: ({reason})"):
        await source.start()


async def test_unreachable_service(shop: Shop) -> None:
    entry = OpenApiEntry(document=f"{shop.url}/openapi.json", base_url="http://127.0.0.1:1")
    async for gone in started(OpenApiSource("shop", entry, SECRETS)):
        with pytest.raises(ToolError, match=r"^The service cannot be reached\.$"):
            await gone["shop.find"].call({"tag": "a"})
