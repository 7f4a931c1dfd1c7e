"""Memory of the server over many mixed requests, half of which the client cancels.

The command is `autotool bench perf soak`. It starts `autotool serve`, sends the requests, and prints the resident memory of its
process tree after each tenth of them, and what each process has grown by. The first tenth is warm-up. Stock vLLM, loaded with
the same requests in its own terms, shows what of a growth is vLLM's.
"""

import asyncio
import itertools
import random
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import typer
from openai import AsyncOpenAI

from autotool_bench.perf import servers
from autotool_bench.perf.servers import Server
from autotool_client.discovery import find_model
from autotool_core.errors import AutoToolError
from autotool_core.progress import progress_bar
from autotool_server import default_model

TOLERANCE = 0.05
"""Largest change of memory that passes, as a share of the memory after the warm-up."""
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
VARIANTS: tuple[dict[str, Any], ...] = (
    {"mode": "long", "max_reasoning_tokens": 4},
    {"mode": "short"},
    {"mode": "auto", "max_reasoning_tokens": 4},
    {"mode": "auto", "max_reasoning_tokens": 4, "response_format": FORM},
    {"mode": "short", "tools": [TOOL], "tool_choice": "required"},
    {"mode": "short", "n": 2, "seed": 1},
    {"mode": "short", "logprobs": True, "top_logprobs": 2},
)


STOCK_FLAGS = {"max_model_len": "2048"}

Memory = dict[str, float]
"""Resident memory in MiB by process."""


def in_stock_terms(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request as stock vLLM takes it: the mode is a variable of the chat template, and there is no auto."""
    rest = {name: value for name, value in body.items() if name not in {"mode", "max_reasoning_tokens"}}
    return {**rest, "chat_template_kwargs": {"enable_thinking": body["mode"] == "long"}}


def bodies(count: int) -> list[tuple[dict[str, Any], bool]]:
    """Return request bodies of every variant, streamed and not, each with whether the client cancels it."""
    rng = random.Random(0)  # noqa: S311 not a secret
    variants = itertools.islice(itertools.cycle(itertools.product(VARIANTS, (True, False), (True, False))), count)
    words = ["rain", "wind", "sun", "snow", "river", "train"]
    return [
        (
            {"messages": [{"role": "user", "content": " ".join(rng.choices(words, k=rng.randint(3, 60)))}], **variant}
            | {"stream": stream, "temperature": 1}
            | {"max_completion_tokens": 16 if "response_format" in variant or "tools" in variant else 6},
            cancelled,
        )
        for variant, stream, cancelled in variants
    ]


async def send(client: httpx.AsyncClient, body: dict[str, Any], cancelled: bool, slots: asyncio.Semaphore) -> None:
    """Send one request; cancel it within half a second if `cancelled`."""
    async with slots:
        request = asyncio.create_task(client.post("/chat/completions", json=body))
        if cancelled:
            await asyncio.sleep(random.random() * 0.5)  # noqa: S311
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            return
        (await request).raise_for_status()


def resident(process: psutil.Process) -> Memory:
    """Return the resident memory of a process and its children, by their names; those of the same name are added up."""
    memory: Memory = {}
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            memory[member.name()] = memory.get(member.name(), 0) + member.memory_info().rss / 2**20
    return memory


async def soak(server: Server, process: psutil.Process, count: int, streams: int) -> list[Memory]:
    """Send the requests; return the resident memory after each tenth of them."""
    memory: list[Memory] = []
    slots = asyncio.Semaphore(streams)
    requests = [(in_stock_terms(body) if server.name == "stock" else body, cancelled) for body, cancelled in bodies(count)]
    url = server.url
    size = count // 10
    async with AsyncOpenAI(base_url=url, api_key="none") as models:
        model = await find_model(models)
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        with progress_bar() as progress:
            task = progress.add_task("requests", total=count)
            for start in range(0, count, size):
                part = requests[start : start + size]
                await asyncio.gather(*(send(client, {"model": model, **body}, cancelled, slots) for body, cancelled in part))
                memory.append(resident(process))
                progress.update(task, advance=len(part), description=f"{sum(memory[-1].values()):.0f} MiB")
    return memory


def measure(engine: str, requests: int, streams: int, serve_options: Sequence[str]) -> None:
    """Start the server, send the requests, print the memory. Raises AutoToolError if it changes by more than TOLERANCE."""
    server = _stock(serve_options) if engine == "stock-vllm" else servers.autotool("--engine", engine, *serve_options)
    log = Path(tempfile.mkdtemp()) / "serve.log"
    with servers.started(server, log) as process:
        memory = asyncio.run(soak(server, psutil.Process(process.pid), requests, streams))
    totals = [sum(each.values()) for each in memory]
    change = totals[-1] / totals[0] - 1
    typer.echo(f"{' '.join(f'{mebibytes:.0f}' for mebibytes in totals)} MiB: {change:+.1%} after the warm-up")
    for name in sorted(memory[0].keys() & memory[-1].keys()):
        typer.echo(f"{name}: {memory[0][name]:.0f} to {memory[-1][name]:.0f} MiB")
    if abs(change) > TOLERANCE:
        raise AutoToolError(f"Memory changed by {change:+.1%} after the warm-up, more than {TOLERANCE:.0%}.")


def _stock(options: Sequence[str]) -> Server:
    """Return stock vLLM with the default model, or with the one that the options name."""
    model = () if "--model" in options else ("--model", str(default_model.ensure()))
    flags = STOCK_FLAGS | (servers.CPU_FLAGS if servers.is_cpu() else {})
    return servers.stock_vllm(*model, *servers.PARSERS, *servers.engine_options(flags, ours=False), *options)
