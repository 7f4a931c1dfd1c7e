"""A scripted server of the API over real HTTP, for the tests of the client.

The text of the last message selects the behaviour: `slow` streams until the client leaves, `cut` ends in the middle, `broken`
sends an error in the stream, `refuse` gets status 400, `escape` sends control characters, `document` streams the text of
`FakeAPI.document` in small pieces, `weather` and `order` call server tools; any other text gets an answer.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from support import fake_tools

TURN = {"choice": 0, "resolved": "long", "decided_by": "model", "p_long": 0.75, "reasoning_bias": 0.5, "prefix_tokens": 4}
COUNTS = {"decision_tokens": 1, "reasoning_tokens": 7, "content_tokens": 2, "reasoning_truncated": False, "tool_calls": []}
USAGE = {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15}
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "tiny"}


@dataclass
class FakeAPI:
    """The URL of the server, and the requests that it received."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client leaves a slow stream."""
    document: str = ""
    default_mode: str | None = None
    page: str | None = None
    """A web page in the place of the list of models."""


@contextmanager
def fake_api(*, with_record: bool = True, with_tools: bool = False) -> Iterator[FakeAPI]:
    """Run the server; without `with_record` it returns no decision record, like a server without modes."""
    api = FakeAPI()
    app = _app(api, with_record=with_record, with_tools=with_tools)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    api.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    yield api
    server.should_exit = True
    thread.join()


def _app(api: FakeAPI, *, with_record: bool, with_tools: bool) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/tools", response_model=None)
    def tools() -> JSONResponse | dict[str, Any]:
        return {"object": "list", "data": fake_tools.TOOLS} if with_tools else JSONResponse({"detail": "Not Found"}, 404)

    @app.get("/v1/models", response_model=None)
    def models() -> HTMLResponse | dict[str, Any]:
        if api.page is not None:
            return HTMLResponse(api.page)
        owned = {"object": "model", "created": 1, "owned_by": "nobody"}
        owned |= {"default_mode": api.default_mode} if api.default_mode else {}
        return {"object": "list", "data": [{"id": "tiny", **owned}, {"id": "tiny:long", **owned}]}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> JSONResponse | StreamingResponse:
        body = await request.json()
        api.bodies.append(body)
        api.headers.append(dict(request.headers))
        text = body["messages"][-1]["content"]
        approvals = body.get("tool_approvals")
        record = _record(body) if with_record else {}
        if text == "refuse":
            return JSONResponse({"error": {"message": "Send less.", "type": "invalid_request_error"}}, 400)
        if body.get("stream"):
            return StreamingResponse(_stream(api, text, approvals, record), media_type="text/event-stream")
        content = "It is 4." if approvals is None else fake_tools.order_answer(approvals)
        message = {"role": "assistant", "content": content, "reasoning": "2+2", "reasoning_content": "2+2"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, **record})

    return app


def _record(body: dict[str, Any]) -> dict[str, Any]:
    decision = {"mode": body.get("mode", "auto"), "turns": [TURN | COUNTS]}
    if (approvals := body.get("tool_approvals")) is not None:
        decision |= fake_tools.decided(approvals)
    elif body["messages"][-1]["content"] == "order":
        decision |= fake_tools.waiting()
    return {"autotool": decision}


def _stream(api: FakeAPI, text: str, approvals: dict[str, bool] | None, record: dict[str, Any]) -> AsyncIterator[str]:
    if approvals is not None:
        return _decided(approvals, record)
    return _document(api, record) if text == "document" else _events(api, text, record)


async def _events(api: FakeAPI, text: str, record: dict[str, Any]) -> AsyncIterator[str]:
    for delta in ({"role": "assistant", "content": ""}, _thought("2+"), _thought("2")):
        yield _chunk(delta)
    for event in fake_tools.weather_events() if text == "weather" else ():
        yield _event({**HEAD, "object": "chat.completion.chunk", "choices": [], "autotool": event})
    yield _chunk({"content": "It "})
    if text == "cut":
        return
    if text == "broken":
        yield _event({"error": {"message": "The engine died.", "type": "server_error"}})
    while text == "slow":
        try:
            await asyncio.sleep(0.02)
            yield _chunk({"content": "and "})
        except asyncio.CancelledError:
            api.left.set()
            raise
    yield _chunk({"content": "\x1b[2J\x9b2J" if text == "escape" else "is 4."})
    yield _chunk({}, finish_reason="stop", **record)
    yield _event({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    yield "data: [DONE]\n\n"


async def _document(api: FakeAPI, record: dict[str, Any]) -> AsyncIterator[str]:
    for start in range(0, len(api.document), 7):
        await asyncio.sleep(0.001)
        yield _chunk({"content": api.document[start : start + 7]})
    yield _chunk({}, finish_reason="stop", **record)


async def _decided(approvals: dict[str, bool], record: dict[str, Any]) -> AsyncIterator[str]:
    result = fake_tools.order_result(approvals)
    yield _event({**HEAD, "object": "chat.completion.chunk", "choices": [], "autotool": result})
    yield _chunk({"content": fake_tools.order_answer(approvals)})
    yield _chunk({}, finish_reason="stop", **record)


def _thought(text: str) -> dict[str, str]:
    return {"reasoning": text, "reasoning_content": text}


def _chunk(delta: dict[str, str], finish_reason: str | None = None, **extra: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event({**HEAD, "object": "chat.completion.chunk", "choices": [choice], **extra})


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
