"""Start, pause and stop the servers of a measurement: this project's server and stock vLLM."""

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
from autotool_core.extras import require_vllm
from autotool_server.launch.listener import listen

START_SECONDS = 300
STOP_SECONDS = 60
PARSERS = ("--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "hermes")
"""Options by which stock vLLM parses the answers of this project's checkpoints."""
CPU_FLAGS = {"dtype": "float32", "enforce_eager": "true", "block_size": "32"}
"""Engine flags that vLLM needs on a CPU."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that has not been started: its name, command and port."""

    name: str
    command: Sequence[str]
    port: int

    @property
    def url(self) -> str:
        """The server's OpenAI base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


def autotool(*options: str, name: str = "ours") -> Server:
    """Return `autotool serve` with these options, on a free port."""
    port = _free_port()
    return Server(name, [sys.executable, "-m", "autotool_cli", "serve", "--port", str(port), *options], port)


def stock_vllm(*options: str, name: str = "stock") -> Server:
    """Return vLLM's own server with these options, on a free port."""
    port = _free_port()
    # Started by its module: the `vllm` command of the CPU wheel does not start.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    return Server(name, [*command, *options], port)


def engine_options(flags: Mapping[str, str], *, ours: bool) -> list[str]:
    """Return engine flags as options of either server; the value `true` makes a flag without a value."""
    if ours:
        return [part for name, value in flags.items() for part in ("--engine-arg", f"{name}={value}")]
    options = {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
    return [part for name, value in options.items() for part in ([name] if value == "true" else [name, value])]


def is_cpu() -> bool:
    """Return whether vLLM runs on a CPU on this machine. Raises AutoToolError if vLLM is not installed."""
    require_vllm("This measurement")
    from vllm.platforms import current_platform  # noqa: PLC0415 slow

    return current_platform.is_cpu()


def environment() -> dict[str, str]:
    """Return the environment variables of a server, with those that vLLM needs on a CPU.

    The key that a user's own servers ask for is left out: this one listens on loopback, and its clients send no key.
    """
    own = {name: value for name, value in os.environ.items() if name != "AUTOTOOL_API_KEY"}
    return {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", **own}


@contextmanager
def started(server: Server, log: Path, seconds: float = START_SECONDS) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server and its child processes until the block ends. Raises AutoToolError if it does not start in `seconds`."""
    # Without this handler a terminated measurement would leave its server running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with log.open("wb") as out:
        process = subprocess.Popen(server.command, stdout=out, stderr=out, env=environment(), start_new_session=True)  # noqa: S603
    try:
        _await_ready(server, process, log, seconds)
        yield process
    finally:
        _stop(process)


@contextmanager
def paused(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Suspend a server and its child processes: an idle vLLM worker spins, and would take a core from the measured server."""
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Terminate the server and its child processes; kill them if they do not end in time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


def _free_port() -> int:
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    listener.close()
    return port


def _await_ready(server: Server, process: "subprocess.Popen[bytes]", log: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AutoToolError(f"{server.name} did not start: {_last_line(log)}\nIts log: {log}")
        try:
            if httpx.get(f"{server.url}/models").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise AutoToolError(f"{server.name} did not start in {seconds:.0f} seconds: see its log, {log}.")


def _last_line(log: Path) -> str:
    """Return the last line that a server wrote: an error of `autotool serve` is one sentence."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "it wrote nothing."
