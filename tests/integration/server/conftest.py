"""What the server's integration tests share: the default model and its base, engines, a stock vLLM server, and a browser."""

import asyncio
import importlib.util
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import pytest
from playwright.async_api import Browser
from support.browser import CHROMIUM, chromium_beside_servers
from support.engines import MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS, ask, collect, until
from support.serving import Running, running
from support.tools import TOWN, Fixed

from autotool_core.errors import EngineError
from autotool_server import default_model
from autotool_server.engines.base import Engine
from autotool_server.engines.remote import RemoteEngine
from autotool_server.engines.transformers import TransformersEngine
from autotool_server.engines.vllm import VllmEngine
from autotool_server.tools.registry import Registry

ENGINES = ("transformers", "vllm", "remote")
MAX_MODEL_LEN = 4096
START_SECONDS = 240


@pytest.fixture(scope="session")
def default_model_dir() -> Path:
    """The default model, as it is served."""
    return default_model.ensure()


@pytest.fixture(scope="session")
def base_model_dir() -> Path:
    """The default model before training: what engines are tested on, so that another adapter changes none of their tests."""
    return default_model.ensure(trained=False)


def _needs_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")


@pytest.fixture(scope="session")
def stock_vllm(base_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The root URL of vLLM's own server with the default model's base."""
    _needs_vllm()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("stock_vllm") / "log.txt"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", base_model_dir]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager", "--block-size", "32"]
    command += ["--max-model-len", str(MAX_MODEL_LEN), "--max-num-seqs", str(MAX_NUM_SEQS), "--enable-prompt-tokens-details"]
    environment = os.environ | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health").close()  # noqa: S310 - our own loopback server
        except URLError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"stock vLLM did not start:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server, and all of its processes: they are one process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def make_engine(name: str, request: pytest.FixtureRequest) -> Engine:
    """An engine of the default model's base, not started."""
    model = str(request.getfixturevalue("base_model_dir"))
    if name == "remote":
        return RemoteEngine(request.getfixturevalue("stock_vllm"))
    if name == "transformers":
        return TransformersEngine(model, max_model_len=MAX_MODEL_LEN, max_num_seqs=MAX_NUM_SEQS)
    _needs_vllm()
    limits = {"max_num_seqs": MAX_NUM_SEQS, "max_num_batched_tokens": MAX_NUM_BATCHED_TOKENS}
    return VllmEngine(model, engine_args={"max_model_len": MAX_MODEL_LEN, **limits})


@pytest.fixture(scope="session", params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """Each engine in turn, started. pytest runs all tests of one before the next one starts."""
    engine = make_engine(request.param, request)
    with pytest.raises(EngineError):
        await engine.health()
    await engine.start()
    yield engine
    await _stop(engine)


async def _stop(engine: Engine) -> None:
    """The contract of `stop`, tested on every engine after everything else."""
    assert engine.in_flight() == 0
    decoding = asyncio.create_task(collect(engine, ask([5] * 10, 3000)))
    await until(engine.in_flight)
    await engine.stop()
    with pytest.raises(EngineError):
        await decoding
    await engine.stop()
    with pytest.raises(EngineError):
        await engine.health()
    assert engine.in_flight() == 0
    assert multiprocessing.active_children() == []


@pytest.fixture(scope="session")
async def server(engine: Engine) -> AsyncIterator[Running]:
    """The whole server over each engine in turn, with two server tools, on a real port."""
    async with Registry([Fixed(TOWN)]) as registry, running(engine, registry=registry) as server:
        yield server


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A real browser, of each module its own; tests skip by name without one."""
    if CHROMIUM is None:
        pytest.skip("no chromium in PATH")
    async with chromium_beside_servers() as browser:
        yield browser
