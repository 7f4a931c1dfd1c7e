"""The default model takes an order: a tool of a real service that acts is called once, and the answer is text."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from support.serving import MODEL, Running, running

from autotool_core import profile
from autotool_core.profile import Profile
from autotool_server.engines.base import Engine
from autotool_server.engines.transformers import TransformersEngine
from autotool_server.tools.registry import Registry
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.openapi import OpenApiEntry, OpenApiSource

QUESTION = [{"role": "user", "content": "Order 3 pieces of sku A100."}]
CASES = [*itertools.product(["auto", "short", "long"], [False, True])]
"""The modes, and whether the answer is streamed."""


class Order(BaseModel):
    sku: str
    pieces: int


class Shop:
    """A service that takes orders."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.orders: list[Order] = []

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/orders", operation_id="createOrder")
        async def create_order(order: Order) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] the decorator keeps it
            """Order pieces of an article by its sku."""
            self.orders.append(order)
            return {"order": len(self.orders), "sku": order.sku, "pieces": order.pieces, "status": "taken"}

        return app


@dataclass(frozen=True)
class Outcome:
    """What a request came to."""

    orders: list[Order]
    record: dict[str, Any]
    content: str


@asynccontextmanager
async def opened() -> AsyncIterator[Shop]:
    listening = socket.create_server(("127.0.0.1", 0))
    shop = Shop(f"http://127.0.0.1:{listening.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(shop.app(), log_level="error"))
    serving = asyncio.create_task(server.serve([listening]))
    yield shop
    server.should_exit = True
    await serving


@pytest.fixture(scope="module")
async def outcomes(default_model_dir: Path) -> dict[tuple[str, bool], Outcome]:
    """The default model on the transformers engine is asked for all at once: one batch takes little longer than one request."""
    engine = TransformersEngine(str(default_model_dir))
    await engine.start()
    markers = profile.load_profile(default_model_dir / profile.FILE_NAME)
    try:
        made = await asyncio.gather(*(order(engine, markers, mode, streamed=streamed) for mode, streamed in CASES))
    finally:
        await engine.stop()
    return dict(zip(CASES, made, strict=True))


async def order(engine: Engine, markers: Profile, mode: str, *, streamed: bool) -> Outcome:
    """Send the request to a server over the engine that has a shop of its own."""
    async with opened() as shop:
        source = OpenApiSource("shop", OpenApiEntry(document=f"{shop.url}/openapi.json"), Secrets({}))
        async with Registry([source]) as registry, running(engine, markers, registry=registry) as server:
            record, content = await send(server, mode, streamed=streamed)
    return Outcome(shop.orders, record, content)


async def send(server: Running, mode: str, *, streamed: bool) -> tuple[dict[str, Any], str]:
    """Return the record and the content of the answer."""
    create: Any = server.client.chat.completions.create
    extra = {"mode": mode, "max_reasoning_tokens": 128}
    tools = [{"type": "server", "name": "shop.*"}]
    body = {"model": MODEL, "messages": QUESTION, "tools": tools, "tool_choice": "required", "temperature": 0}
    if not streamed:
        answer = await create(**body, extra_body=extra)
        return answer.autotool, answer.choices[0].message.content
    chunks = [chunk async for chunk in await create(**body, stream=True, extra_body=extra)]
    return chunks[-1].autotool, "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@pytest.mark.parametrize(("mode", "streamed"), CASES)
def test_an_order_is_made_once_and_answered(outcomes: dict[tuple[str, bool], Outcome], mode: str, *, streamed: bool) -> None:
    outcome = outcomes[mode, streamed]
    assert outcome.orders == [Order(sku="A100", pieces=3)]
    assert outcome.content.strip()
    assert "tool_call" not in outcome.content
    assert outcome.record["stop_reason"] in {"answer", "repeated_call"}
    assert len(outcome.record["turns"]) <= 5
