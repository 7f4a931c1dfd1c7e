"""The server's process: what a signal does to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

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
    command_line.command(["--port", "0"], prog_name="serve")
"""


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
    assert (server.returncode, output) == (0, ("stopped\n", "Stopping.\n"))
    with pytest.raises(ProcessLookupError):
        _wait_for_end(child)


def _wait_for_end(pid: int) -> None:
    """Raises ProcessLookupError once there is no such process."""
    for _ in range(500):
        os.kill(pid, 0)
        time.sleep(0.02)
