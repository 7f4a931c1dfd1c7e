"""Processes of the system under test, each of which can be killed and started again at the same address."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

TESTS = Path(__file__).parents[1]
MODEL = TESTS.parent / "training" / "checkpoints" / "graded-tiny"
NAME = "graded-tiny"
AUTOTOOL = str(Path(sys.executable).with_name("autotool"))
VLLM = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
"""One thread for each engine: the model is tiny, and threads of several engines would wait for each other."""
START_SECONDS = 240
MAX_STARTS = 5


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Part:
    """A server process. Its output goes to a file."""

    name: str
    command: Sequence[str]
    port: int
    log: Path
    ready: str = "/health"
    """The path that answers 200 once the server can be used."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    leaves_children: bool = False
    """Whether its child processes stay when it is killed, so that they must be killed with it."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raises RuntimeError with the end of its log if it never is."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, env={**os.environ, **self.environment}, stdout=out, stderr=out, start_new_session=True
            )
        await self.is_up()

    async def is_up(self) -> None:
        """Wait until it is ready."""
        async with aiohttp.ClientSession() as client:
            for _ in range(START_SECONDS * 4):
                with suppress(aiohttp.ClientError):
                    async with client.get(self.url + self.ready) as answer:
                        if answer.status == 200:
                            return
                if self.process is None or self.process.poll() is not None:
                    break
                await asyncio.sleep(0.25)
        raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self, *, whole: bool = False) -> None:
        """Kill its process, as the kernel does when memory ends; with `whole`, all that it has started too."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def again(self, after: float) -> None:
        """Kill it, and start it after some seconds, as a supervisor does: again if what it needs is not there yet."""
        self.kill(whole=self.leaves_children)
        for _ in range(MAX_STARTS - 1):
            await asyncio.sleep(after)
            with suppress(RuntimeError):
                await self.start()
                return
        await asyncio.sleep(after)
        await self.start()

    async def rolled(self) -> None:
        """End it as an orchestrator does for a new version, and start it when it has ended."""
        assert self.process is not None
        self.process.terminate()
        await asyncio.to_thread(self.process.wait)
        await self.start()


def front(name: str, folder: Path, *options: str, preload: Mapping[str, str] | None = None) -> Part:
    """Return a server of ours. `options`: those of `autotool serve`."""
    port = free_port()
    command = [AUTOTOOL, "serve", "--host", "127.0.0.1", "--port", str(port), "--log-requests", "json", *options]
    return Part(name, command, port, folder / f"{name}.log", "/health/ready", {**VLLM, **(preload or {})})


def stock_vllm(name: str, folder: Path) -> Part:
    """Return vLLM's own server."""
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), "--served-model-name", NAME]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager", "--block-size", "32"]
    command += ["--max-num-seqs", "64"]
    return Part(name, command, port, folder / f"{name}.log", environment=VLLM, leaves_children=True)


def router(folder: Path, *workers: Part) -> Part:
    """Return the project vLLM's router in front of vLLM servers."""
    port = free_port()
    command = [sys.executable, "-m", "vllm_router.launch_router", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-port", str(free_port()), "--policy", "cache_aware", "--health-check-interval-secs", "2"]
    command += ["--worker-urls", *(worker.url for worker in workers)]
    return Part("router", command, port, folder / "router.log")
