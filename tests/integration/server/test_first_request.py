"""What a server does only when it is first asked, which is nothing that takes time, and how it ends while it answers.

Each engine's server is started once for both.
"""

import asyncio
import importlib.util
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from support.served_process import Served, serving, stream, until_in_flight

CHECKPOINT = Path(__file__).parents[3] / "training" / "checkpoints" / "graded-tiny"
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
RECORDING = """
import json, sys
from autotool_cli.main import main
from autotool_server.launch import ready, stop

announce, exit_now, before = ready.announce, stop.exit_now, set()


async def announced(*arguments):
    before.update(sys.modules)
    await announce(*arguments)


def tell():
    print("imported", json.dumps(sorted(set(sys.modules) - before)), flush=True)


def exit_told(*code):
    tell()
    exit_now(*code)


ready.announce, stop.exit_now = announced, exit_told
sys.argv[:1] = ["autotool", "serve"]
try:
    main()
finally:
    tell()
"""
"""A server that tells at its end what was imported after it was ready."""
HELD = """
import asyncio
from contextlib import aclosing
from autotool_server.engines.transformers.engine import TransformersEngine

generate = TransformersEngine.generate


async def held(engine, request):
    async with aclosing(generate(engine, request)) as deltas:
        async for delta in deltas:
            yield delta
            if request.max_tokens > 100:
                await asyncio.Event().wait()


TransformersEngine.generate = held
"""
"""A long answer stops after its first token, until it is cancelled."""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
FUNCTION = {"name": "locate", "description": "Find a city.", "parameters": SCHEMA}
KINDS = (
    {"mode": "auto"},
    {"mode": "short", "stream": True},
    {"mode": "short", "tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
    {"mode": "short", "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}},
)


LONG = {"mode": "short", "stream": True, "max_tokens": 800, "ignore_eos": True}
PATH = "/v1/chat/completions"
SMALL = ("--model", str(CHECKPOINT))
WAITS = "Waiting for 1 request; Ctrl-C again to stop."
pytestmark = pytest.mark.timeout(900)


def body(**changes: object) -> dict[str, object]:
    messages = [{"role": "user", "content": "Where is the Eiffel tower?"}]
    return {"model": "small", "messages": messages, "max_tokens": 12, **changes}


def processes(server: Served) -> set[int]:
    return {child.pid for child in psutil.Process(server.process.pid).children(recursive=True)}


def signal_each(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)


@asynccontextmanager
async def asked(*options: str, program: str = RECORDING) -> AsyncIterator[Served]:
    """A server that has had a request of each kind, for the caller to end. These import and start nothing, which takes seconds.

    A test of times would fail on a busy machine.
    """
    async with serving(*options, "--served-model-name", "small", program=("-c", program)) as server:
        ready = processes(server)
        async with httpx.AsyncClient(timeout=240) as client:
            for kind in KINDS:
                assert (await client.post(server.url + PATH, json=body(**kind))).status_code == 200
        assert processes(server) == ready
        yield server
    [imported] = [line for line in server.output.splitlines() if line.startswith("imported ")]
    assert json.loads(imported.removeprefix("imported ")) == []


async def test_the_first_requests_of_transformers_and_an_open_stream_that_is_ended() -> None:
    async with asked("--engine", "transformers", *SMALL, program=HELD + RECORDING) as server:
        begun = asyncio.Event()
        asking = asyncio.create_task(stream(server.url, PATH, body(**LONG), begun))
        await begun.wait()
        server.signal(signal.SIGINT)
        await server.says(WAITS)
        server.signal(signal.SIGINT)
        text = await asking
        code = await server.end()
    [*_, last] = [line for line in text.splitlines() if line]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "overloaded"
    assert (code, server.errors.splitlines()) == (0, [WAITS])


@needs_vllm
async def test_the_first_requests_of_vllm_and_one_that_ends_after_ctrl_c() -> None:
    """A terminal sends it to vLLM's processes too, which must not end before the requests.

    They are stopped until the server has told of Ctrl-C, so that no answer ends before it, however quick they are.
    """
    async with asked("--engine", "vllm", *SMALL, "--drain-seconds", "200") as server:
        assert dict(line.split(None, 1) for line in server.ready[1:])["engine"].startswith("vllm ")
        signal_each(engine := processes(server), signal.SIGSTOP)
        asking = asyncio.create_task(stream(server.url, PATH, body(**LONG), asyncio.Event()))
        await until_in_flight(server.url)
        server.signal(signal.SIGINT)
        await server.says(WAITS)
        signal_each(engine, signal.SIGCONT)
        text = await asking
        code = await server.end()
    assert text.endswith("data: [DONE]\n\n")
    assert (code, server.errors.splitlines()) == (0, [WAITS])
    answered = [line.split()[2] for line in server.output.splitlines() if PATH in line]
    assert answered == ["200"] * (len(KINDS) + 1)


@needs_vllm
async def test_the_first_requests_of_a_remote_engine(stock_vllm: str) -> None:
    async with asked("--engine", "remote", "--remote-url", stock_vllm) as server:
        server.signal(signal.SIGINT)
        assert await server.end() == 0
