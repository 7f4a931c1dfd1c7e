"""A line for every request, and never what was asked or answered."""

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from openai import APIStatusError
from support.engines import until
from support.serving import MODEL, Running, running, scripted

from autotool_server.api import access_log
from autotool_server.launch import logs

SECRET = "xylophone"
ANSWER = "It is four."


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, access_log.logger.name)
    return caplog


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == access_log.logger.name]


async def ask(server: Running, **body: Any) -> Any:
    extra = {"mode": body.pop("mode", "short")}
    return await server.client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": SECRET}], extra_body=extra, **body
    )


async def line(server: Running, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Return the only line, once it is written: after the response has been sent."""
    await server.idle()
    await until(lambda: len(logged(caplog)))
    [text] = logged(caplog)
    assert SECRET not in text
    assert ANSWER not in text
    caplog.clear()
    return json.loads(text)


def test_the_logger_is_the_one_that_is_set_up() -> None:
    assert access_log.logger.name == logs.REQUESTS


async def test_a_line_for_people(lines: pytest.LogCaptureFixture) -> None:
    async with running(scripted(ANSWER, log_odds=-2)) as server:
        completion = await ask(server, mode="auto", temperature=0)
        await server.idle()
        [text] = logged(lines)
    usage = completion.usage
    date, _, *parts = text.split()
    assert len(date) == len("2026-11-28")
    assert parts[:5] == ["200", "POST", "/v1/chat/completions", "auto->short", "p_long=0.12"]
    tokens = [f"prompt={usage.prompt_tokens}", "reasoning=0", f"answer={usage.completion_tokens}"]
    assert parts[5:8] == tokens
    assert [part.partition("=")[0] for part in parts[8:]] == ["first", "total", "id"]


async def test_a_line_for_programs(lines: pytest.LogCaptureFixture) -> None:
    async with running(scripted("Two\n</think>\n\nFour", log_odds=2), log_requests="json") as server:
        completion = await ask(server, mode="auto", temperature=0)
        entry = await line(server, lines)
    assert entry | {"status": 200, "mode": "auto", "resolved": "long", "error": None, "stream": False} == entry
    usage = completion.usage
    assert (entry["prompt_tokens"], entry["reasoning_tokens"]) == (
        usage.prompt_tokens,
        usage.completion_tokens_details.reasoning_tokens,
    )
    assert entry["answer_tokens"] + entry["reasoning_tokens"] == usage.completion_tokens
    assert entry["id"] == completion.id
    assert entry["request_id"] == completion._request_id
    assert 0 < entry["decide_seconds"] < entry["first_token_seconds"] <= entry["seconds"]
    assert 0 < entry["reasoning_seconds"] < entry["seconds"]
    assert 0 <= entry["queue_seconds"] < entry["first_token_seconds"]
    assert entry["trace_id"] is None
    assert entry["p_long"] == pytest.approx(0.88, abs=0.01)


async def test_a_stream_has_the_same_line(lines: pytest.LogCaptureFixture) -> None:
    async with running(scripted(ANSWER), log_requests="json") as server:
        await ask(server)
        whole = await line(server, lines)
        async for _ in await ask(server, stream=True):
            pass
        streamed = await line(server, lines)
    varying = {"time", "id", "request_id", "stream", *(name for name in whole if name.endswith("seconds"))}
    assert {name: value for name, value in whole.items() if name not in varying} == {
        name: value for name, value in streamed.items() if name not in varying
    }
    assert (whole["stream"], streamed["stream"]) == (False, True)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/completions"])
async def test_every_protocol_has_lines(lines: pytest.LogCaptureFixture, path: str) -> None:
    prompt = {"messages": [{"role": "user", "content": SECRET}], "input": SECRET, "prompt": SECRET}
    name = {"/v1/messages": "messages", "/v1/responses": "input", "/v1/completions": "prompt"}[path]
    body = {"model": MODEL, name: prompt[name]} | ({"max_tokens": 9} if name == "messages" else {})
    async with running(scripted(ANSWER), log_requests="json") as server, httpx.AsyncClient() as client:
        answer = await client.post(server.url.removesuffix("/v1") + path, json=body)
        assert answer.status_code == 200
        entry = await line(server, lines)
    assert (entry["path"], entry["status"]) == (path, 200)
    assert entry["answer_tokens"] > 0


async def test_a_refused_request_has_its_code_and_nothing_of_the_body(lines: pytest.LogCaptureFixture) -> None:
    async with running(scripted(ANSWER), log_requests="json") as server:
        with pytest.raises(APIStatusError):
            await ask(server, mode=SECRET)
        entry = await line(server, lines)
        assert (entry["status"], entry["error"], entry["mode"]) == (400, "invalid_value", None)
        with pytest.raises(APIStatusError):
            await server.client.chat.completions.create(model=SECRET, messages=[{"role": "user", "content": SECRET}])
        assert (await line(server, lines))["error"] == "model_not_found"


async def test_a_full_server_is_said(lines: pytest.LogCaptureFixture) -> None:
    engine = scripted(ANSWER)
    held = asyncio.get_running_loop().create_future()
    engine.gate = lambda: held
    async with running(engine, log_requests="json", max_concurrent_requests=1) as server:
        first = asyncio.create_task(ask(server))
        await until(engine.in_flight)
        with pytest.raises(APIStatusError):
            await ask(server)
        [text] = logged(lines)
        assert (json.loads(text)["status"], json.loads(text)["error"]) == (503, "overloaded")
        held.set_result(None)
        await first


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_said(lines: pytest.LogCaptureFixture, stream: bool) -> None:
    engine = scripted(ANSWER)
    passed = 0

    def gate() -> asyncio.Future[None] | None:
        nonlocal passed
        passed += 1
        return asyncio.get_running_loop().create_future() if passed > 3 else None

    engine.gate = gate
    async with running(engine, log_requests="json") as server:
        body = {"model": MODEL, "messages": [{"role": "user", "content": SECRET}], "mode": "short", "stream": stream}
        async with httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(f"{server.url}/chat/completions", json=body))
            await until(lambda: passed > 3)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        entry = await line(server, lines)
    assert (entry["status"], entry["error"], entry["stream"]) == (499, "cancelled", stream)
    assert entry["answer_tokens"] == 3


async def test_a_failed_stream_has_the_status_of_its_error(lines: pytest.LogCaptureFixture) -> None:
    engine = scripted(ANSWER)

    def gate() -> asyncio.Future[None] | None:
        if engine.requests and engine.in_flight() and gate.calls > 2:  # pyright: ignore[reportFunctionMemberAccess]
            raise ZeroDivisionError
        gate.calls += 1  # pyright: ignore[reportFunctionMemberAccess]
        return None

    gate.calls = 0  # pyright: ignore[reportFunctionMemberAccess]
    engine.gate = gate
    body = {"model": MODEL, "messages": [{"role": "user", "content": SECRET}], "mode": "short", "stream": True}
    async with running(engine, log_requests="json") as server, httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/chat/completions", json=body)
        assert answer.status_code == 200
        entry = await line(server, lines)
    assert (entry["status"], entry["error"]) == (500, "internal_error")


async def test_probes_have_no_line_and_other_routes_have_one(lines: pytest.LogCaptureFixture) -> None:
    async with running(scripted(ANSWER)) as server, httpx.AsyncClient(base_url=server.url.removesuffix("/v1")) as client:
        for path in access_log.PROBES:
            await client.get(path)
        assert logged(lines) == []
        await client.get("/v1/models")
        await client.get("/no/route%0A200 GET")
        texts = [text.split(" ", 2)[2] for text in logged(lines)]
    assert texts[0].startswith("200 GET /v1/models total=")
    assert texts[1].startswith("404 GET /no/route%0A200%20GET total=")


async def test_no_lines_on_request(lines: pytest.LogCaptureFixture) -> None:
    async with running(scripted(ANSWER), log_requests="off") as server:
        await ask(server)
        await server.idle()
    assert logged(lines) == []


async def test_work_in_the_background_has_a_line_of_its_own(lines: pytest.LogCaptureFixture, tmp_path: Any) -> None:
    store = f"sqlite:///{tmp_path}/responses.db"
    async with running(scripted(ANSWER), log_requests="json", response_store=store) as server:
        body = {"mode": "short"}
        response = await server.client.responses.create(model=MODEL, input=SECRET, background=True, extra_body=body)
        await server.idle()
        await until(lambda: len(logged(lines)) == 2)
        answered, worked = map(json.loads, logged(lines))
    assert (answered["background"], worked["background"]) == (False, True)
    assert worked["id"] == response.id
    assert worked["request_id"] == answered["request_id"]
    assert worked["answer_tokens"] > 0
