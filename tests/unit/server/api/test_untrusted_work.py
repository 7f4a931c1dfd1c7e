"""What clients can make expensive: schemas are worked on in processes that end, and long prompts are refused by length."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest
from support.serving import Running, held, running, scripted

from autotool_core.text_encoder import TextEncoder
from autotool_server.conversation import schema_workers
from autotool_server.tools import schema_check

USER = [{"role": "user", "content": "2+2?"}]
OLD_ENUM = {"$schema": "http://json-schema.org/draft-04/schema#", "enum": [{"k": number} for number in range(2700)]}
"""Draft 4 compares every two values: seconds, which grow with the square."""
NAMES = [f"property{number}" for number in range(10_000)]


def doubling(depth: int) -> dict[str, Any]:
    pairs = {f"d{n}": {"properties": {name: {"$ref": f"#/$defs/d{n - 1}"} for name in "ab"}} for n in range(1, depth + 1)}
    return {"$ref": f"#/$defs/d{depth}", "$defs": {"d0": {"type": "string"}, **pairs}}


def tool(name: str, parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, "strict": True}}


def answered_in(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}}


def called_with(*schemas: Any) -> dict[str, Any]:
    return {"tools": [tool(f"t{number}", schema) for number, schema in enumerate(schemas)]}


def of_free_names(number: int) -> dict[str, Any]:
    properties = {f"property_{number}_{index}": {"type": "string"} for index in range(8)}
    return {"type": "object", "properties": properties, "additionalProperties": {"type": "string"}}


async def post(server: Running, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=120) as client:
        request = {"model": "tested", "messages": USER, "mode": "short", "max_tokens": 8, **body}
        return await client.post(f"{server.url}/chat/completions", json=request)


async def until(condition: Callable[[], Any]) -> Any:
    """Return what a condition returns once that is true; fails after a minute."""
    for _ in range(6000):
        if found := condition():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("still waiting")


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    await until(lambda: not psutil.pid_exists(pid))


async def working(server: Running) -> int:
    """Return the process of a worker, once there is one."""
    return (await until(lambda: server.state.service.schemas.workers.processes))[0]


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (answered_in({"type": "string", "pattern": "^a{20000}$"}), {400}),
        (answered_in({"type": "string", "pattern": "^" + "a{9999}" * 40 + "$"}), {200}),
        (answered_in(doubling(30)), {200}),
        # A quick machine needs less than the second.
        (answered_in({"type": "object", "properties": {name: {} for name in NAMES}, "required": NAMES}), {200, 400}),
        (called_with(*map(of_free_names, range(20))) | {"tool_choice": "required"}, {200}),
    ],
    ids=["pattern", "patterns", "references", "properties", "free names"],
)
async def test_the_servers_own_process_looks_into_no_schema(
    body: dict[str, Any], statuses: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("in the server's process")

    monkeypatch.setattr(schema_check, "error_path", fail)
    monkeypatch.setattr("xgrammar.Grammar.from_structural_tag", fail)
    engine = scripted("x")
    engine.max_model_len = 100_000
    async with running(engine, schema_seconds=1) as server:
        assert (await post(server, **body)).status_code in statuses


async def test_a_schema_beyond_the_limit_is_refused_by_name_while_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    body = called_with({"type": "object"}, OLD_ENUM)
    async with running(scripted("x"), schema_seconds=1) as server:
        hostile = asyncio.create_task(post(server, **body))
        pid = await working(server)
        assert (await post(server, **called_with({"type": "object"}))).status_code == 200
        assert not hostile.done()
        refused = (await hostile).json()["error"]
        assert refused["param"] == "tools.1.function.parameters"
        assert "1 s of CPU time" in refused["message"]
        assert "schema_seconds" in refused["message"]
        await gone(pid)
        monkeypatch.setattr(server.state.service.schemas.workers, "run", None)  # what was found is kept
        assert (await post(server, **body)).json()["error"] == refused


@pytest.mark.parametrize("end", ["the client leaves", "the server stops"])
async def test_work_on_a_schema_ends_with(end: str) -> None:
    async with running(scripted("x"), schema_seconds=600) as server:
        hostile = asyncio.create_task(post(server, **answered_in(OLD_ENUM)))
        pid = await working(server)
        if end == "the client leaves":
            hostile.cancel()
        else:
            server.state.shutdown.cut()
            assert (await hostile).status_code == 503
        await gone(pid)
        await server.idle()


async def test_a_schema_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_workers, "MEMORY_BYTES", 2**20)
    async with running(scripted("x")) as server:
        response = await post(server, **answered_in({"enum": [f"value {number}" for number in range(20_000)]}))
        assert response.status_code == 400
        assert "1 MiB" in response.json()["error"]["message"]


async def test_a_worker_that_has_died_is_replaced() -> None:
    async with running(scripted("x")) as server:
        for number in range(2):
            assert (await post(server, **called_with({"type": "object", "maxProperties": number}))).status_code == 200
            pid = await working(server)
            os.kill(pid, signal.SIGKILL)
            await gone(pid)


async def test_a_worker_ends_when_the_service_is_closed() -> None:
    async with running(scripted("x")) as server:
        await post(server, **called_with({"type": "object"}))
        pid = await working(server)
    await gone(pid)


@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
async def test_a_prompt_that_cannot_fit_is_refused_before_it_is_tokenised(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, text = scripted("x"), "a long text " * 100_000
    encode, encode_segments = engine.tokenizer.encode, TextEncoder.encode
    sizes: list[int] = []

    def noted(text: str, **options: Any) -> list[int]:
        sizes.append(len(text))
        return encode(text, **options)

    def noted_segments(encoder: TextEncoder, text: str) -> list[int]:
        sizes.append(len(text))
        return encode_segments(encoder, text)

    async with running(engine) as server:
        monkeypatch.setattr(engine.tokenizer, "encode", noted)
        monkeypatch.setattr(TextEncoder, "encode", noted_segments)
        body = {"model": "tested", "prompt": text} if path == "/completions" else {"model": "tested", "mode": "short"}
        async with httpx.AsyncClient(timeout=120) as client:
            messages = [{"role": "user", "content": text}]
            body = body if path == "/completions" else {**body, "messages": messages}
            response = await client.post(server.url + path, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert max(sizes, default=0) < len(text)


async def test_large_prompts_share_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = scripted("x")
    engine.max_model_len = 2**20
    encode, threads = TextEncoder.encode, set[str]()

    def noted(encoder: TextEncoder, text: str) -> list[int]:
        if len(text) > 2**15:
            threads.add(threading.current_thread().name)
        return encode(encoder, text)

    async with running(engine) as server:
        monkeypatch.setattr(TextEncoder, "encode", noted)
        large = [{"role": "user", "content": "x" * 2**16}]
        answers = await asyncio.gather(*(post(server, messages=large) for _ in range(12)))
        assert {answer.status_code for answer in answers} == {200}
    assert threads
    assert {name.partition("_")[0] for name in threads} == {"texts"}
    assert len(threads) <= 8


async def test_a_request_beyond_the_limit_is_refused_before_its_body_is_read() -> None:
    engine = scripted("x y z")
    release = held(engine)
    async with running(engine, max_concurrent_requests=1) as server:
        first = asyncio.create_task(post(server))
        await until(lambda: engine.requests)
        url = httpx.URL(server.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = ("POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Content-Length: 99")
        writer.write("\r\n".join([*head, "", ""]).encode())
        assert (await reader.readline()).split()[1] == b"503"
        writer.close()
        release.set()
        assert (await first).status_code == 200
