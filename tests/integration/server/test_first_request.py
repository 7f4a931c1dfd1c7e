"""What a server does only when it is first asked: nothing that takes time."""

import importlib.util
import json
import signal
from pathlib import Path

import httpx
import psutil
import pytest
from support.served_process import Served, serving

CHECKPOINT = Path(__file__).parents[3] / "training" / "checkpoints" / "graded-tiny"
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
RECORDING = """
import json, sys
from autotool_cli.main import main
from autotool_server.launch import ready

announce, before = ready.announce, set()


async def announced(*arguments):
    before.update(sys.modules)
    await announce(*arguments)


ready.announce = announced
sys.argv[:1] = ["autotool", "serve"]
try:
    main()
finally:
    print("imported", json.dumps(sorted(set(sys.modules) - before)), flush=True)
"""
"""A server that tells at its end what was imported after it was ready."""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
FUNCTION = {"name": "locate", "description": "Find a city.", "parameters": SCHEMA}
KINDS = (
    {"mode": "auto"},
    {"mode": "short", "stream": True},
    {"mode": "short", "tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
    {"mode": "short", "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}},
)


async def ask(server: Served, **changes: object) -> None:
    messages = [{"role": "user", "content": "Where is the Eiffel tower?"}]
    body = {"model": "small", "messages": messages, "max_tokens": 12, **changes}
    async with httpx.AsyncClient(timeout=240) as client:
        answer = await client.post(f"{server.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200


def processes(server: Served) -> set[int]:
    return {child.pid for child in psutil.Process(server.process.pid).children(recursive=True)}


@pytest.fixture(params=["transformers", pytest.param("vllm", marks=needs_vllm), pytest.param("remote", marks=needs_vllm)])
def engine_options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options of a server with each engine in turn."""
    if request.param == "remote":
        return ("--engine", "remote", "--remote-url", request.getfixturevalue("stock_vllm"))
    return ("--engine", request.param, "--model", str(CHECKPOINT), "--engine-arg", "max_model_len=1024")


@pytest.mark.timeout(900)
async def test_the_first_requests_import_and_start_nothing(engine_options: tuple[str, ...]) -> None:
    """They take seconds. A test of times would fail on a busy machine."""
    async with serving(*engine_options, "--served-model-name", "small", program=("-c", RECORDING)) as server:
        ready = processes(server)
        for kind in KINDS:
            await ask(server, **kind)
        assert processes(server) == ready
        server.signal(signal.SIGINT)
        await server.end()
    [imported] = [line for line in server.output.splitlines() if line.startswith("imported ")]
    assert json.loads(imported.removeprefix("imported ")) == []
