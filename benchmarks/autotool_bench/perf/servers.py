"""Servers that a measurement starts, waits for and stops: this project's, and stock vLLM."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from autotool_core.errors import AutoToolError
from autotool_server.launch.listener import listen

START_SECONDS = 300
STOP_SECONDS = 60
PARSERS = ("--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "hermes")
"""With which stock vLLM reads the answers of this project's checkpoints."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server, not started yet."""

    name: str
    command: Sequence[str]
    port: int

    @property
    def url(self) -> str:
        """Its OpenAI URL."""
        return f"http://127.0.0.1:{self.port}/v1"


def autotool(*options: str, name: str = "ours") -> Server:
    """`autotool serve` with these options, on a free port."""
    port = _free_port()
    return Server(name, [sys.executable, "-m", "autotool_cli", "serve", "--port", str(port), *options], port)


def stock_vllm(*options: str, name: str = "stock") -> Server:
    """VLLM's own server with these options, on a free port. By its module: the CPU wheel's `vllm` command does not start."""
    port = _free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    return Server(name, [*command, *options], port)


def engine_options(flags: Mapping[str, str], *, ours: bool) -> list[str]:
    """The same engine flags in the words of either server; `true` stands for a flag without value."""
    if ours:
        return [part for name, value in flags.items() for part in ("--engine-arg", f"{name}={value}")]
    words = {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
    return [part for name, value in words.items() for part in ([name] if value == "true" else [name, value])]


def environment() -> dict[str, str]:
    """Variables that vLLM wants on a CPU."""
    return {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", **os.environ}


@contextmanager
def started(server: Server, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends; its children end with it. Raises AutoToolError if it does not start."""
    # Without it a terminated measurement would leave its server running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with log.open("wb") as out:
        process = subprocess.Popen(server.command, stdout=out, stderr=out, env=environment(), start_new_session=True)  # noqa: S603
    try:
        _await_ready(server, process, log)
        yield process
    finally:
        _stop(process)


@contextmanager
def paused(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Hold a server and its children still: an idle vLLM worker spins, and would take a core from what is measured."""
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server and its children: asked first, then killed."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, word)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


def _free_port() -> int:
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    listener.close()
    return port


def _await_ready(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AutoToolError(f"{server.name} did not start: see {log}")
        try:
            if httpx.get(f"{server.url}/models").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise AutoToolError(f"{server.name} did not start in {START_SECONDS} seconds: see {log}")
