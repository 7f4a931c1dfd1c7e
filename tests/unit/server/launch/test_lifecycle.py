"""The server's process: what a signal does to it, and what the death of its engine does."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest
from support.keys import bearer, write_keys
from support.served_process import serving, stream
from support.serving import scripted

from autotool_core.errors import EngineError, HungThreadError
from autotool_server.api.state import ServerState
from autotool_server.launch import lifecycle
from autotool_server.launch.listener import listen
from autotool_server.settings import Settings
from autotool_server.state_store.spend import SpendStore
from autotool_server.tools.registry import Registry

LOADING = """
import asyncio, multiprocessing, os, signal, time


def load():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    time.sleep(40)


class Engine:
    async def start(self):
        multiprocessing.get_context("spawn").Process(target=load).start()
        await asyncio.to_thread(time.sleep, 40)

    async def stop(self):
        print("stopped", flush=True)


if __name__ == "__main__":
    from autotool_server.launch import command_line, lifecycle

    lifecycle.create_engine = lambda _: Engine()
    lifecycle.import_engine = lambda _: None
    command_line.command(["--port", "0"], prog_name="serve")
"""

DYING = """
import asyncio, sys, time
from autotool_cli.main import main
from autotool_core.errors import EngineError
from autotool_server.launch import lifecycle
from support.serving import scripted

engine = scripted("It is four. " * 10)
left = 32


async def fail():
    raise EngineError("The engine is gone.")


async def load():
    await asyncio.to_thread(time.sleep, 40)


def gate():
    global left
    left -= 1
    if left == 0:
        engine.health, engine.start = fail, load
    return asyncio.ensure_future(asyncio.sleep(0.05))


engine.gate = gate
lifecycle.create_engine = lambda _: engine
lifecycle.import_engine = lambda _: None
sys.argv[:1] = ["autotool", "serve", "--profile", "smollm2-autotool", "--served-model-name", "scripted"]
sys.argv[2:2] = ["--generation-config", "vllm", "--engine-restarts", "0"]
main()
"""
"""A server whose engine is dead after 32 tokens, 12 of its warm-up among them, one every 0.05 seconds.

Its streams would go on to their end, and another start takes 40 seconds.
"""
PRELOADING = """
import os, signal
from multiprocessing import forkserver

from autotool_server.conversation.schema_workers import preload

preload()
server = forkserver._forkserver._forkserver_pid
with open(f"/proc/{server}/status") as status:
    [blocked] = [line.split()[1] for line in status if line.startswith("SigBlk")]
os.kill(server, signal.SIGKILL)
print(bool(int(blocked, 16) & 1 << signal.SIGINT - 1), signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
ASKED = {"model": "scripted", "messages": [{"role": "user", "content": "?"}], "mode": "short", "stream": True}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_server_that_still_loads_its_model(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "loading.py"
    script.write_text(LOADING)
    with subprocess.Popen([sys.executable, script], stdout=PIPE, stderr=PIPE, text=True) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        server.send_signal(number)
        try:
            output = server.communicate(timeout=20)
        finally:
            server.kill()
    assert (server.returncode, output[0]) == (0, "stopped\n")
    assert output[1].splitlines()[2:] == ["Stopping."]  # behind the phases of the start that had ended
    with pytest.raises(ProcessLookupError):
        _wait_for_end(child)


def _wait_for_end(pid: int) -> None:
    """Raises ProcessLookupError once there is no such process."""
    for _ in range(500):
        os.kill(pid, 0)
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the signals that a process blocks")
def test_what_schema_workers_are_forked_from_gets_no_ctrl_c() -> None:
    shown = subprocess.run([sys.executable, "-c", PRELOADING], capture_output=True, text=True, check=True)
    assert shown.stdout == "True set()\n"


async def test_the_death_of_the_engine_ends_requests_and_then_the_process_with_an_error() -> None:
    async with serving(program=("-c", DYING)) as server:
        text = await stream(server.url, "/v1/chat/completions", ASKED, asyncio.Event())
        code = await server.end()
    [*_, last] = [line for line in text.splitlines() if line]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "overloaded"
    message = "autotool: The engine has died, and the server with it: The engine is gone.\n"
    assert (code, server.errors) == (1, message)


async def test_the_death_of_the_engine_after_a_signal_is_no_fault() -> None:
    """A service manager may send SIGTERM to the engine's own processes too."""
    async with serving(program=("-c", DYING)) as server:
        begun = asyncio.Event()
        asking = asyncio.create_task(stream(server.url, "/v1/chat/completions", ASKED, begun))
        await begun.wait()
        server.signal(signal.SIGTERM)
        text = await asking
        code = await server.end()
    assert text.endswith("data: [DONE]\n\n")
    assert (code, server.errors) == (0, "Waiting for 1 request; Ctrl-C again to stop.\n")


async def test_a_signal_ends_a_server_whose_engine_is_started_again() -> None:
    async with serving("--engine-restarts", "1", program=("-c", DYING)) as server:
        asking = asyncio.create_task(stream(server.url, "/v1/chat/completions", ASKED, asyncio.Event()))
        await server.says("The engine is gone. The engine is started again (1 of 1).")
        server.signal(signal.SIGTERM)
        await asking
        async with asyncio.timeout(25):
            code = await server.end()
    assert code == 0
    assert server.said[1:] == []


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "answers"])
async def test_a_spend_store_that_hangs_leaves_a_thread_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    """Which only the end of the process ends, as the caller of `serve` is told."""
    answers = threading.Event()
    close = SpendStore.close

    def wait(store: SpendStore) -> None:
        answers.wait(60)
        close(store)

    async def ask(url: str, state: ServerState) -> None:
        async with httpx.AsyncClient(base_url=url, headers=bearer("alice"), timeout=60) as client:
            assert (await client.post("/chat/completions", json=ASKED)).status_code == 200
        if hangs:
            monkeypatch.setattr(SpendStore, "close", wait)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(lifecycle, "create_engine", lambda _: scripted("It is four."))
    monkeypatch.setattr(lifecycle, "import_engine", lambda _: None)
    store = f"sqlite:///{tmp_path / 'spend.db'}"
    settings = Settings(
        keys=write_keys(tmp_path, alice={}),
        spend_store=store,
        profile="smollm2-autotool",
        served_model_name="scripted",
        generation_config="vllm",
    )
    try:
        assert await lifecycle.serve(settings, Registry(), listen("127.0.0.1", 0), ask) is not hangs
    finally:
        answers.set()


@pytest.mark.parametrize("is_at_work", [True, False])
async def test_a_thread_that_hangs_does_not_keep_a_server_whose_engine_died_from_ending(*, is_at_work: bool) -> None:
    async def work() -> None:
        raise EngineError("It is gone.")

    with pytest.raises(HungThreadError if is_at_work else EngineError, match="It is gone") as caught:
        await lifecycle._ended(asyncio.create_task(work()), lambda: is_at_work)
    assert isinstance(caught.value, HungThreadError) == is_at_work
