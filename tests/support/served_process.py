"""`autotool serve` as a process, and what it says until it has ended."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

LAST_PHASE = "Answered a request of each kind in "
TESTS = Path(__file__).parents[1]
SCRIPTED = """
import asyncio, sys
from autotool_server.launch import lifecycle
from autotool_server.launch.command_line import command
from support.serving import scripted

engine = scripted("It is four. " * 200)
warm_up = lifecycle.warm_up


async def warm_up_at_full_speed(service):
    await warm_up(service)
    engine.gate = lambda: asyncio.ensure_future(asyncio.sleep(0.05))


lifecycle.warm_up = warm_up_at_full_speed
lifecycle.create_engine = lambda _: engine
lifecycle.import_engine = lambda _: None
sys.argv[1:1] = ["--profile", "smollm2-autotool", "--served-model-name", "scripted"]
sys.argv[1:1] = ["--generation-config", "vllm"]
command(prog_name="serve")
"""
"""A server whose answers take half a minute, a token every 0.05 seconds."""


@dataclass
class Served:
    """A running server."""

    process: Process
    url: str
    ready: list[str]
    """The lines that it printed when it was ready."""
    phases: list[str]
    """What it said of its start."""
    before: list[str]
    """The lines that its command printed before."""
    output: str = ""
    """What it wrote after that, once it has ended."""
    errors: str = ""
    """What it wrote to standard error after the phases of its start."""
    said: list[str] = field(default_factory=list[str])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: Ctrl-C to every process of the server, as a terminal does, SIGTERM to the first."""
        if number is signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def leave_errors(self) -> None:
        """Read no more of standard error, as `tee` that Ctrl-C has ended too."""
        pipe: Any = self.process._transport.get_pipe_transport(2)  # pyright: ignore[reportAttributeAccessIssue] asyncio has no other way
        pipe.close()

    async def says(self, text: str) -> None:
        """Wait until a line with this text is on standard error."""
        assert self.process.stderr is not None
        while True:
            line = (await self.process.stderr.readline()).decode()
            assert line, f"it ended without saying {text!r}: {self.said}"
            self.said.append(line)
            if text in line:
                return

    async def end(self) -> int:
        """Wait for the end. Return the exit code."""
        output, errors = await self.process.communicate()
        self.output, self.errors = output.decode(), "".join(self.said) + errors.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def serving(*arguments: str, program: tuple[str, ...] = ("-c", SCRIPTED)) -> AsyncIterator[Served]:
    """Start a server on a free port, and kill it at the end if it has not ended. `program`: arguments of Python."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    async with started(sys.executable, *program, *arguments, "--port", "0", env=environment) as server:
        yield server


@asynccontextmanager
async def started(*command: str, **process_options: Any) -> AsyncIterator[Served]:
    """Run a command until it serves, and kill it at the end if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=PIPE, start_new_session=True, **process_options
    )
    try:
        before, ready = await _lines_until_ready(process)
        url = re.findall(r"http://\S+", ready[0])[0].removesuffix("/v1")
        yield Served(process, url, ready, await _phases(process), before)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def _lines_until_ready(process: Process) -> tuple[list[str], list[str]]:
    """Return what was printed before the server was ready, and the lines that say that it is."""
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    while line := (await process.stdout.readline()).decode():
        lines.append(line.removesuffix("\n"))
        if line.startswith("  docs "):
            begin = next(number for number, one in enumerate(lines) if one.startswith("Ready at "))
            return lines[:begin], lines[begin:]
    raise AssertionError((await process.stderr.read()).decode())


async def _phases(process: Process) -> list[str]:
    """Return what is on standard error up to the last phase of the start, which has ended."""
    assert process.stderr is not None
    lines: list[str] = []
    while not (lines and lines[-1].startswith(LAST_PHASE)):
        lines.append((await process.stderr.readline()).decode().rstrip())
    return lines


async def stream(url: str, path: str, body: dict[str, object], begun: asyncio.Event) -> str:
    """Send a request and return all of its stream. `begun` is set when the first bytes are here."""
    text = ""
    async with httpx.AsyncClient(timeout=60) as client, client.stream("POST", url + path, json=body) as answer:
        assert answer.status_code == 200
        async for part in answer.aiter_text():
            text += part
            begun.set()
    return text


async def until_in_flight(url: str) -> None:
    """Wait until the server runs one request."""
    async with httpx.AsyncClient() as client:
        for _ in range(500):
            if "autotool_requests_in_flight 1.0" in (await client.get(f"{url}/metrics")).text:
                return
            await asyncio.sleep(0.02)
    raise AssertionError("no request is in flight")
