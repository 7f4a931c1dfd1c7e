"""The end of a server's process while requests run."""

import asyncio
import json
import signal
from typing import Any

import httpx
import pytest
from support.served_process import SCRIPTED, serving, stream, until_in_flight

PROMPT = [{"role": "user", "content": "?"}]
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": PROMPT},
    "/v1/completions": {"prompt": "?", "max_tokens": 2000},
    "/v1/messages": {"messages": PROMPT, "max_tokens": 2000},
    "/v1/responses": {"input": "?"},
}


def body(path: str, **changes: Any) -> dict[str, Any]:
    mode = {} if path == "/v1/completions" else {"mode": "short"}
    return {"model": "scripted", "stream": True, **REQUESTS[path], **mode, **changes}


def last_event(path: str, text: str) -> dict[str, Any]:
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return json.loads(events[-1] if events[-1] != "[DONE]" else events[-2])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_an_idle_server_aligns_its_ready_lines_and_ends_at_once(number: signal.Signals) -> None:
    async with serving("--served-model-name", "mine", "--api-key", "k", "--builtin-tools", "clock,calculator") as server:
        server.signal(number)
        code = await server.end()
    assert (code, server.errors) == (0, "Stopping.\n")
    rows = dict(line.split(None, 1) for line in server.ready[1:])
    assert [*rows] == ["model", "engine", "device", "context", "modes", "tools", "key", "page", "docs"]
    assert {line.index(value) for line, value in zip(server.ready[1:], rows.values(), strict=True)} == {11}
    assert (rows["model"], rows["modes"], rows["context"]) == ("mine", "auto (default), long, short", "4,096 tokens")
    assert rows["docs"] == f"{server.url}/docs"
    assert rows["tools"] == "calculator, clock"


async def test_it_ends_when_nobody_reads_what_it_says() -> None:
    async with serving() as server:
        server.leave_errors()
        server.signal(signal.SIGINT)
        assert await server.end() == 0


async def test_the_second_signal_ends_streams_with_an_error_of_their_protocol() -> None:
    async with serving() as server:
        begun = {path: asyncio.Event() for path in REQUESTS}
        streams = {path: asyncio.create_task(stream(server.url, path, body(path), begun[path])) for path in REQUESTS}
        await asyncio.gather(*(event.wait() for event in begun.values()))
        server.signal(signal.SIGINT)
        await server.says("Waiting for 4 requests; Ctrl-C again to stop.")
        server.signal(signal.SIGINT)
        texts = dict(zip(streams, await asyncio.gather(*streams.values()), strict=True))
        code = await server.end()
    for path in ("/v1/chat/completions", "/v1/completions"):
        assert last_event(path, texts[path])["error"]["code"] == "overloaded"
    message = last_event("/v1/messages", texts["/v1/messages"])
    assert (message["type"], message["error"]["type"]) == ("error", "overloaded_error")
    assert last_event("/v1/responses", texts["/v1/responses"])["type"] in {"error", "response.failed"}
    assert all("stopping" in text for text in texts.values())
    assert (code, server.errors) == (0, "Waiting for 4 requests; Ctrl-C again to stop.\n")
    lines = server.output.splitlines()
    assert sorted(line.split()[2] for line in lines) == ["503", "503", "503", "529"]
    assert all("error=overloaded" in line for line in lines)


async def test_what_has_not_begun_to_answer_is_answered_503() -> None:
    async with serving("--log-requests", "off") as server, httpx.AsyncClient(timeout=60) as client:
        path = "/v1/chat/completions"
        asking = asyncio.create_task(client.post(server.url + path, json=body(path, stream=False)))
        await until_in_flight(server.url)
        server.signal(signal.SIGTERM)
        await server.says("Waiting for 1 request;")
        server.signal(signal.SIGTERM)
        answer = await asking
        code = await server.end()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert (code, server.output) == (0, "")


async def test_a_server_whose_requests_end_says_so_and_takes_no_new_ones() -> None:
    path = "/v1/chat/completions"
    async with serving() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        begun = asyncio.Event()
        running = asyncio.create_task(stream(server.url, path, body(path), begun))
        await begun.wait()
        idle, slow = await _connection(server.url, "GET /health/live"), await _connection(server.url, f"POST {path}", 100)
        await idle[0].readuntil(b'"live"}')
        server.signal(signal.SIGTERM)
        await server.says("Waiting for 1 request;")
        assert [(await client.get(f"/health{probe}")).status_code for probe in ("", "/ready", "/live")] == [503, 503, 200]
        refused = [await client.post(path, json=body(path)) for path in REQUESTS]
        refused.append(await client.post("/tokenize", json={"prompt": "?"}))
        refused.append(await client.post("/v1/messages/count_tokens", json={"model": "scripted", "messages": PROMPT}))
        late = (await slow[0].read()).decode()
        server.signal(signal.SIGTERM)
        assert "stopping" in await running
        assert await idle[0].read() == b""
        code = await server.end()
    assert code == 0
    assert [answer.status_code for answer in refused] == [503, 503, 529, 503, 503, 529]
    for answer in refused:
        assert "The server is stopping" in answer.json()["error"]["message"]
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
    assert late.startswith("HTTP/1.1 503")
    assert "The server is stopping" in late


async def test_work_in_a_thread_that_never_ends_does_not_hold_up_the_end() -> None:
    program = SCRIPTED.replace("asyncio.sleep(0.05)", "asyncio.to_thread(__import__('threading').Event().wait)")
    path = "/v1/chat/completions"
    async with serving(program=("-c", program)) as server, httpx.AsyncClient(timeout=60) as client:
        asking = asyncio.create_task(client.post(server.url + path, json=body(path, stream=False)))
        await until_in_flight(server.url)
        server.signal(signal.SIGTERM)
        await server.says("Waiting for 1 request;")
        server.signal(signal.SIGTERM)
        assert (await asking).status_code == 503
        assert await server.end() == 0


async def test_requests_may_end_for_some_seconds() -> None:
    path = "/v1/chat/completions"
    async with serving("--drain-seconds", "0.5") as server:
        begun = asyncio.Event(), asyncio.Event()
        short = asyncio.create_task(stream(server.url, path, body(path, max_tokens=6), begun[0]))
        long = asyncio.create_task(stream(server.url, path, body(path), begun[1]))
        await asyncio.gather(*(event.wait() for event in begun))
        server.signal(signal.SIGTERM)
        texts = await asyncio.gather(short, long)
        code = await server.end()
    assert texts[0].endswith("data: [DONE]\n\n")
    assert last_event(path, texts[1])["error"]["code"] == "overloaded"
    assert code == 0
    assert sorted(line.split()[2] for line in server.output.splitlines()) == ["200", "503"]


async def test_the_third_signal_ends_the_process() -> None:
    path = "/v1/chat/completions"
    async with (
        serving() as server,
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", server.url + path, json=body(path)),
    ):
        server.signal(signal.SIGINT)
        await server.says("Waiting")
        server.signal(signal.SIGINT)
        server.signal(signal.SIGINT)
        code = await server.end()
    assert code in {0, 130}  # signals that come together are one
    assert "Traceback" not in server.errors


async def _connection(url: str, request: str, length: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection and send the head of a request, whose body of some bytes never comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    kind = "Content-Type: application/json\r\n"
    writer.write(f"{request} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\n\r\n".encode())
    return reader, writer
