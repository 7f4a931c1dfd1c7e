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
import psutil

from autotool_bench.perf import end_with_parent
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_core.extras import require_vllm
from autotool_server.environment import PREFIX
from autotool_server.launch.listener import listen
from autotool_server.settings import Settings

HOST = "127.0.0.1"
FIXED = ("--host", "--port", "--api-key")
"""Options of `autotool serve` that a measurement sets itself."""
SERVER_VARIABLES = frozenset({"VLLM_API_KEY", *(PREFIX + name.upper() for name in Settings.model_fields)})
"""Variables that set up a user's own servers."""
START_SECONDS = 300
POLL_SECONDS = 0.1
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
        return f"http://{HOST}:{self.port}/v1"


def autotool(*options: str, name: str = "ours") -> Server:
    """Return `autotool serve` with these options, on a free port. Raises AutoToolError as `reject_fixed` does."""
    reject_fixed(options)
    port = _free_port()
    fixed = ["--host", HOST, "--port", str(port)]
    return Server(name, [sys.executable, "-m", "autotool_cli", "serve", *fixed, *options], port)


def reject_fixed(options: Sequence[str]) -> None:
    """Raise AutoToolError for an option by which the measurement would not find its server, or not be let in."""
    for option in options:
        if (name := option.partition("=")[0]) in FIXED:
            raise AutoToolError(
                f"{name}: a measurement starts its server on a free port of {HOST} and without a key. Leave {name} out."
            )


def stock_vllm(*options: str, name: str = "stock") -> Server:
    """Return vLLM's own server with these options, on a free port."""
    port = _free_port()
    # Started by its module: the `vllm` command of the CPU wheel does not start.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", HOST, "--port", str(port)]
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

    The settings of a user's own servers are left out: they could make it another model's, or lock its clients out. A
    measurement's server takes options alone.
    """
    own = {name: value for name, value in os.environ.items() if name.upper() not in SERVER_VARIABLES}
    return {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", **own}


@contextmanager
def started(server: Server, log: Path, seconds: float = START_SECONDS) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server and its child processes until the block or, on Linux, this process ends.

    Raises AutoToolError if it does not start in `seconds`.
    """
    # Without this handler a terminated measurement would leave its server running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [sys.executable, "-IS", end_with_parent.__file__, str(os.getpid()), *server.command]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment(), start_new_session=True)  # noqa: S603
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


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time (user and system) of a process and its children, in seconds."""
    return sum(sum(member.cpu_times()[:2]) for member in (process, *process.children(recursive=True)))


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Terminate the server and its child processes; kill them if they do not end in time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


def _free_port() -> int:
    listener = listen(HOST, 0)
    port: int = listener.getsockname()[1]
    listener.close()
    return port


def _await_ready(server: Server, process: "subprocess.Popen[bytes]", log: Path, seconds: float) -> None:
    start, minutes = time.monotonic(), 1
    with httpx.Client(base_url=server.url) as client:
        while (waited := time.monotonic() - start) < seconds:
            if process.poll() is not None:
                raise AutoToolError(f"{server.name} did not start: {_last_line(log)}\nIts log: {log}")
            if _is_ready(server, client, log):
                return
            if waited >= 60 * minutes:
                minutes += 1
                plain_console(stderr=True).print(f"{server.name} is still loading; its log: {log}", soft_wrap=True)
            time.sleep(POLL_SECONDS)
    raise AutoToolError(f"{server.name} did not start in {seconds:.0f} seconds: see its log, {log}.")


def _is_ready(server: Server, client: httpx.Client, log: Path) -> bool:
    """Return whether a server answers. Raises AutoToolError if it wants a key, for which no waiting helps."""
    try:
        status = client.get("/models").status_code
    except httpx.TransportError:
        return False
    if status in (401, 403):
        raise AutoToolError(f"{server.name} answers {status}: start it without a key. Its log: {log}")
    return status == 200


def _last_line(log: Path) -> str:
    """Return the last line that a server wrote: an error of `autotool serve` is one sentence."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "it wrote nothing."
