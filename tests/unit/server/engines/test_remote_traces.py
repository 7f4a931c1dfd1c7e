"""The remote engine sends the trace of a step to its server."""

import asyncio
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from support.tiny import make_tokenizer

from autotool_server.engines.base import EngineRequest
from autotool_server.engines.remote import RemoteEngine
from autotool_server.launch.listener import listen

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
CHUNK = 'data: {"choices": [{"index": 0, "token_ids": [3], "finish_reason": "length", "logprobs": null}]}\n\ndata: [DONE]\n\n'


async def test_the_trace_of_a_step_is_sent(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    app, seen = FastAPI(), list[str | None]()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"data": [{"id": "served", "max_model_len": 100, "root": str(tmp_path)}]}

    @app.post("/v1/completions", response_model=None)
    async def complete(request: Request) -> dict[str, Any] | PlainTextResponse:
        seen.append(request.headers.get("traceparent"))
        body = await request.json()
        if body.get("stream"):
            return PlainTextResponse(CHUNK, media_type="text/event-stream")
        top = {f"token_id:{token}": -1.0 for token in body["logprob_token_ids"]}
        return {"choices": [{"token_ids": [1], "finish_reason": "length", "logprobs": {"top_logprobs": [top]}}]}

    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    task = asyncio.create_task(server.serve([listener]))
    engine = RemoteEngine(f"http://127.0.0.1:{listener.getsockname()[1]}")
    await engine.start()
    seen.clear()
    await engine.score("decision", [1], (2, 3), trace_headers=TRACE)
    for headers in (TRACE, {}):
        [_ async for _ in engine.generate(EngineRequest("step", [1], 1, trace_headers=headers))]
    await engine.stop()
    server.should_exit = True
    await task
    assert seen == [TRACE["traceparent"], TRACE["traceparent"], None]
