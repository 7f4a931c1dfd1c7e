"""A stand-in for a vLLM server on a real port, whose responses a test sets, and requests of the remote engine to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from autotool_server.engines.base import EngineRequest, TokenDelta
from autotool_server.engines.remote import RemoteEngine
from autotool_server.launch.listener import listen

Json = dict[str, Any]
ASK = EngineRequest("test", [1, 2], 4)


def card(name: str = "served", **fields: Any) -> Json:
    return {"id": name, "max_model_len": 100, **fields}


def chunk(*token_ids: int, finish_reason: str | None = None) -> Json:
    return {"choices": [{"index": 0, "token_ids": token_ids, "finish_reason": finish_reason, "logprobs": None}]}


def choice(**fields: Any) -> Json:
    return {"choices": [{"index": 0, "finish_reason": "length", "logprobs": None, **fields}]}


def score_of(*token_ids: int) -> Json:
    top = {f"token_id:{token}": -1.0 * token for token in token_ids}
    return {"choices": [{"token_ids": token_ids[:1], "finish_reason": "length", "logprobs": {"top_logprobs": [top]}}]}


class Fleet:
    """A server whose responses a test sets. Scores get the requested candidates."""

    def __init__(self, tokenizer_dir: Path) -> None:
        self.models: Any = {"data": [card(root=str(tokenizer_dir))]}
        self.stream: Callable[[], Response] = lambda: sse(chunk(3, finish_reason="length"))
        self.score: Callable[[Json], Any] = lambda body: score_of(*body["logprob_token_ids"])
        self.delay = 0.0
        self.bodies: list[Json] = []
        self.keys: list[str | None] = []
        self.app = FastAPI()
        self.app.add_api_route("/v1/models", self._models)
        self.app.add_api_route("/health", lambda: None)
        self.app.add_api_route("/v1/completions", self._complete, methods=["POST"])

    async def _models(self, request: Request) -> Any:
        self.keys.append(request.headers.get("authorization"))
        return self.models

    async def _complete(self, request: Request) -> Any:
        body = await request.json()
        self.bodies.append(body)
        await asyncio.sleep(self.delay)
        return self.stream() if body.get("stream") else self.score(body)


def sse(*events: Any, end: str = "data: [DONE]\n\n") -> Response:
    async def lines() -> AsyncIterator[str]:
        for event in events:
            yield f"data: {json.dumps(event)}\n\n"
        yield end

    return StreamingResponse(lines(), media_type="text/event-stream")


def error(status: int, message: str, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "param": param, "code": status}}, status)


@asynccontextmanager
async def serving(fleet: Fleet, port: int = 0) -> AsyncIterator[int]:
    listener = listen("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(fleet.app, log_level="error"))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def collect(engine: RemoteEngine, request: EngineRequest = ASK) -> list[TokenDelta]:
    return [delta async for delta in engine.generate(request)]
