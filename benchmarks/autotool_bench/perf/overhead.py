"""The cost of the server itself: tokens per second of one server process on one core, with an engine that costs nothing.

The command is `autotool bench perf overhead`. The server runs in a child process pinned to one core, its clients on the others,
with the event loop of `autotool serve` and, as there, without collections of what was loaded at the start.
The figure to watch is CPU time per token: it stays the same on a noisy machine, where the wall time of a run does not.
"""

import asyncio
import multiprocessing
import os
import time
from dataclasses import dataclass

import httpx
import psutil
import typer
import uvicorn

from autotool_server.api.app import create_app
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.launch import http_server, supervisor
from autotool_server.launch.command_line import loop_factory
from autotool_server.launch.listener import acceptors, listen
from autotool_server.settings import Settings

SERVED = "scripted"
WORDS = "The quick brown fox jumps over the lazy dog, and then it thinks about what to do next. "


@dataclass(frozen=True)
class OverheadResult:
    """Tokens and times of one mode."""

    mode: str
    tokens: int
    seconds: float
    cpu_seconds: float


def _serve(model: str, tokens: int, port: "multiprocessing.Queue[int]") -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415 slow, and only the child needs it

    from autotool_core.profile import BUILTIN  # noqa: PLC0415

    os.sched_setaffinity(0, {0})
    tokenizer = AutoTokenizer.from_pretrained(model)
    words = tokenizer.encode(WORDS, add_special_tokens=False)
    script = (words * (tokens // len(words) + 1))[:tokens]
    settings = Settings(port=0, answer_reserve=0)
    state = ServerState(settings)
    engine = ScriptedEngine(tokenizer, (tokenizer.eos_token_id,), lambda _: script)
    state.service = ConversationService(engine, BUILTIN["smollm2-autotool"], SERVED, settings)
    server = uvicorn.Server(http_server.config(create_app(state)))
    supervisor.freeze_loaded_objects()
    listener = listen("127.0.0.1", 0)
    port.put(listener.getsockname()[1])
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(server.serve(acceptors(listener)))


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


async def _measure(
    process: psutil.Process, url: str, mode: str, *, streams: int, tokens: int, seconds: float
) -> OverheadResult:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await _stream(client, mode, tokens, time.perf_counter() + 0.5)
        before, began = sum(process.cpu_times()[:2]), time.perf_counter()
        chunks = await asyncio.gather(*(_stream(client, mode, tokens, began + seconds) for _ in range(streams)))
        wall = time.perf_counter() - began
        return OverheadResult(mode, sum(chunks), wall, sum(process.cpu_times()[:2]) - before)


def measure(model: str, streams: int, tokens: int, seconds: float) -> None:
    """Start the server, measure every mode for so many seconds, print."""
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    child = context.Process(target=_serve, args=(model, tokens, port), daemon=True)
    child.start()
    url = f"http://127.0.0.1:{port.get(timeout=120)}"
    os.sched_setaffinity(0, set(range(1, os.cpu_count() or 1)) or {0})
    for mode in ("long", "short", "auto"):
        _print(asyncio.run(_measure(psutil.Process(child.pid), url, mode, streams=streams, tokens=tokens, seconds=seconds)))
    child.terminate()


def _print(result: OverheadResult) -> None:
    per_token = 1e6 * result.cpu_seconds / result.tokens
    typer.echo(
        f"{result.mode:5}  {result.tokens / result.seconds:8.0f} tokens/s   {per_token:6.1f} us CPU per token"
        f"   {1e6 / per_token:8.0f} tokens/s on a whole core"
    )
