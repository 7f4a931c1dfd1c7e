"""`autotool serve` as a user runs it: what it says, and how it ends.

The default model is served once, with the transformers engine. Elsewhere a small checkpoint, which loads sooner, does as well.
How it ends while it answers is in test_first_request.py.
"""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx
import psutil
import pytest
from support.served_process import Served, serving, stream

AUTOTOOL = str(Path(sys.executable).with_name("autotool"))
CHECKPOINT = Path(__file__).parents[3] / "training" / "checkpoints" / "graded-tiny"
SMALL = ("--model", str(CHECKPOINT), "--served-model-name", "small")
PROGRAM = (AUTOTOOL, "serve", "--engine", "transformers")
VLLM = (AUTOTOOL, "serve", "--engine", "vllm")
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
PATH = "/v1/chat/completions"
DYING = """
import itertools, sys
from autotool_cli.main import main
from autotool_server.engines.transformers import rows

calls, call = itertools.count(), rows.RowSampler.__call__


def fail(*arguments):
    if next(calls) > 20:
        raise RuntimeError("out of order")
    return call(*arguments)


rows.RowSampler.__call__ = fail
sys.argv[:1] = ["autotool", "serve", "--engine", "transformers", "--engine-restarts", "1"]
main()
"""
"""A server whose engine's thread fails after 20 tokens."""


def body(**changes: object) -> dict[str, object]:
    prompt = [{"role": "user", "content": "Tell me a long story about the sea."}]
    return {"model": "small", "messages": prompt, "mode": "short", "max_tokens": 800, "ignore_eos": True, **changes}


def said(server: Served) -> list[str]:
    return server.errors.splitlines()


async def test_start_requests_and_stop_say_what_is_needed_and_no_more() -> None:
    async with serving(program=PROGRAM) as server, httpx.AsyncClient(timeout=240) as client:
        rows = dict(line.split(None, 1) for line in server.ready[1:])
        assert rows["model"] == "smollm2-135m"
        assert rows["engine"].startswith("transformers ")
        assert rows["device"].startswith(("cpu", "cuda"))
        assert rows["modes"] == "auto (default), long, short"
        assert (await client.get(rows["docs"])).status_code == 200
        schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
        form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
        for changes in ({"mode": "auto"}, {"response_format": form, "ignore_eos": False}):
            answer = await client.post(server.url + PATH, json=body(model="smollm2-135m", max_tokens=40, **changes))
            assert answer.status_code == 200
        server.signal(signal.SIGINT)
        code = await server.end()
    assert (code, said(server)) == (0, ["Stopping."])
    lines = [line.split()[2:5] for line in server.output.splitlines()]
    assert lines == [["200", "GET", "/docs"], *[["200", "POST", PATH]] * 2]
    assert "sea" not in server.output


async def test_the_death_of_the_engine_ends_the_process() -> None:
    async with serving(*SMALL, program=("-c", DYING)) as server:
        text = await stream(server.url, PATH, body(stream=True), asyncio.Event())
        code = await server.end()
    [*_, last] = [line for line in text.splitlines() if line]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_error"
    assert "out of order" in server.errors
    assert (code, said(server)[-1].startswith("autotool: The engine has died, and the server with it: ")) == (1, True)


@pytest.mark.timeout(900)
@needs_vllm
async def test_vllm_that_is_stopped_is_started_again_and_ends_with_a_killed_server() -> None:
    # The small checkpoint may have answered before vLLM is stopped.
    restarting = serving("--engine-arg", "max_model_len=2048", "--engine-restarts", "1", program=VLLM)
    async with restarting as server, httpx.AsyncClient(base_url=server.url) as client:
        before = vllms(server)
        begun = asyncio.Event()
        long = body(model="smollm2-135m", stream=True, max_tokens=1500)
        asking = asyncio.create_task(stream(server.url, PATH, long, begun))
        await begun.wait()
        [core] = [child for child in before if "EngineCore" in "".join(child.cmdline())]
        core.suspend()
        failed = (await asking).split("data: ")[-1]
        assert json.loads(failed)["error"]["code"] == "engine_error"
        assert "A process of the engine is stopped." in failed
        await server.says("The engine is started again (1 of 1).")
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).status_code == 200
        assert psutil.wait_procs(before, timeout=60)[1] == []
        while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 another process is waited for
            await asyncio.sleep(0.5)
        assert (await client.post(PATH, json=body(model="smollm2-135m", max_tokens=4), timeout=60)).status_code == 200
        after = vllms(server)
        assert len(after) == len(before)
        server.process.kill()
        assert psutil.wait_procs(after, timeout=60)[1] == []


def vllms(server: Served) -> list[psutil.Process]:
    """Return vLLM's own processes: its core, and a worker."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    found = [child for child in children if "VLLM" in "".join(child.cmdline())]
    assert len(found) >= 2
    return found


@pytest.mark.timeout(900)
@needs_vllm
async def test_a_start_of_vllm_that_fails_is_one_line_with_the_cause(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(CHECKPOINT, broken)
    weights = broken / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)  # its head is whole, so that only vLLM's own process finds out
    process = await asyncio.create_subprocess_exec(*VLLM, "--port", "0", "--model", broken, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    *phases, line = errors.decode().splitlines()
    assert [phase.partition(" in ")[0] for phase in phases] == ["Imported the server", "Imported the vllm engine"]
    assert line.startswith("autotool: vLLM did not start: ")
    assert "Safetensor" in line
    assert line.endswith("`--log-level info` shows the whole log.")
