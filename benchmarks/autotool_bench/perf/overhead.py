"""The cost of the server itself: tokens per second of one server process on one core, with an engine that costs nothing.

The command is `autotool bench perf overhead`. The server runs in a child process pinned to one core, its clients on the others,
with the event loop of `autotool serve` and, as there, without collections of what was loaded at the start.
The figure to watch is CPU time per token: it stays the same on a noisy machine, where the wall time of a run does not.
The cost of options is a ratio: two servers, one of them with the options, are measured in turn.
"""

import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import typer
import uvicorn

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.launch import http_server, supervisor
from autotool_server.launch.command_line import loop_factory, parse
from autotool_server.launch.listener import acceptors, listen
from autotool_server.settings import load_settings

SERVED = "scripted"
WORDS = "The quick brown fox jumps over the lazy dog, and then it thinks about what to do next. "
MODES = ("long", "short", "auto")


@dataclass(frozen=True)
class Load:
    """What the clients send: `streams` requests at a time, each for so many `tokens`, with a `key`, for some seconds."""

    streams: int
    tokens: int
    seconds: float
    key: str = "none"


@dataclass(frozen=True)
class OverheadResult:
    """Tokens and times of one mode."""

    mode: str
    tokens: int
    seconds: float
    cpu_seconds: float

    @property
    def per_token(self) -> float:
        """CPU time of a token, in microseconds."""
        return 1e6 * self.cpu_seconds / self.tokens


@dataclass(frozen=True)
class _Server:
    """A server in a child process."""

    process: psutil.Process
    url: str


def _serve(model: str, tokens: int, options: Sequence[str], port: "multiprocessing.Queue[int]") -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415 slow, and only the child needs it

    from autotool_core.profile import BUILTIN  # noqa: PLC0415

    os.sched_setaffinity(0, {0})
    tokenizer = AutoTokenizer.from_pretrained(model)
    words = tokenizer.encode(WORDS, add_special_tokens=False)
    script = (words * (tokens // len(words) + 1))[:tokens]
    settings = load_settings(**{"port": 0, "answer_reserve": 0, **parse(options)})
    state = ServerState(settings)
    if state.tracer is not None:
        state.tracer.install()
    engine = ScriptedEngine(tokenizer, (tokenizer.eos_token_id,), lambda _: script)
    state.service = ConversationService(engine, BUILTIN["smollm2-autotool"], SERVED, settings)
    server = uvicorn.Server(http_server.config(create_app(state)))
    supervisor.freeze_loaded_objects()
    listener = listen("127.0.0.1", 0)
    port.put(listener.getsockname()[1])
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(server.serve(acceptors(listener)))


@contextmanager
def _served(model: str, tokens: int, options: Sequence[str] = ()) -> Iterator[_Server]:
    """Run a server."""
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    child = context.Process(target=_serve, args=(model, tokens, options, port), daemon=True)
    child.start()
    try:
        yield _Server(psutil.Process(child.pid), f"http://127.0.0.1:{port.get(timeout=120)}")
    finally:
        child.terminate()
        child.join()


async def _stream(client: httpx.AsyncClient, mode: str, tokens: int, until: float) -> int:
    """Send streamed requests one after another until the time is up; return the number of events, one per token."""
    # The limit is the request's own, so that the server's defaults change nothing in what is measured.
    body = {"model": SERVED, "messages": [{"role": "user", "content": "Go on."}], "mode": mode, "stream": True}
    body["max_tokens"] = tokens
    chunks = 0
    while time.perf_counter() < until:
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            async for part in response.aiter_raw():
                chunks += part.count(b"data: ")
    return chunks


async def _measured(server: _Server, mode: str, load: Load) -> OverheadResult:
    headers = {"authorization": f"Bearer {load.key}"}
    async with httpx.AsyncClient(base_url=server.url, timeout=60, headers=headers) as client:
        await _stream(client, mode, load.tokens, time.perf_counter() + 0.5)
        before, began = sum(server.process.cpu_times()[:2]), time.perf_counter()
        until = began + load.seconds
        chunks = await asyncio.gather(*(_stream(client, mode, load.tokens, until) for _ in range(load.streams)))
        wall = time.perf_counter() - began
        return OverheadResult(mode, sum(chunks), wall, sum(server.process.cpu_times()[:2]) - before)


def ratio(cost: float, base: float) -> float:
    """Return one cost as a part of another. Raises AutoToolError if that one is too small to be measured."""
    if not base:
        raise AutoToolError("A server took too little CPU time to be measured. Give more seconds or requests.")
    return cost / base


def folder_of(model: Path | None) -> str:
    """Return the folder of a checkpoint; None: the default model's."""
    return str(model or default_model.ensure())


def measure(model: str, load: Load) -> None:
    """Start the server, measure every mode, print."""
    with _served(model, load.tokens) as server, _clients_cores():
        for mode in MODES:
            _print(asyncio.run(_measured(server, mode, load)))


def compare(model: str, load: Load, options: Sequence[str], rounds: int) -> None:
    """Measure a server with options of `autotool serve` and one without in turn, in auto. Print the ratio of their costs."""
    parse(options)  # so that a mistake is told here, and not by a server that does not start
    ratios: list[float] = []
    with _served(model, load.tokens) as plain, _served(model, load.tokens, options) as optioned, _clients_cores():
        for number in range(rounds):
            pair = (plain, optioned) if number % 2 else (optioned, plain)
            costs = {server.url: asyncio.run(_measured(server, "auto", load)).per_token for server in pair}
            ratios.append(ratio(costs[optioned.url], costs[plain.url]))
            typer.echo(
                f"round {number + 1}: {costs[plain.url]:6.1f} and with the options {costs[optioned.url]:6.1f} us CPU a token"
            )
    low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
    typer.echo(
        f"CPU time with the options: {middle:.3f} of that without (median of {rounds}; quartiles {low:.3f} to {high:.3f})"
    )


@contextmanager
def _clients_cores() -> Iterator[None]:
    """Keep this process, which has the clients, off the core of the servers."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before - {0} or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _print(result: OverheadResult) -> None:
    typer.echo(
        f"{result.mode:5}  {result.tokens / result.seconds:8.0f} tokens/s   {result.per_token:6.1f} us CPU per token"
        f"   {1e6 / result.per_token:8.0f} tokens/s on a whole core"
    )
