"""Memory over many requests of mixed kinds, half of them cut off by the client.

    python -m autotool_bench.perf.soak --engine transformers|vllm [--requests 2000] [-- OPTIONS OF autotool serve]

Starts `autotool serve`, sends the requests, and prints the resident memory of its whole process tree at every tenth of the
way. The first tenth is warm-up. Exits 1 where memory moved by more than 5 % after it, or where a request failed.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.progress import Progress

from autotool_bench.perf import servers

TOLERANCE = 0.05
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
KINDS: tuple[dict[str, Any], ...] = (
    {"mode": "long", "max_reasoning_tokens": 4},
    {"mode": "short"},
    {"mode": "auto", "max_reasoning_tokens": 4},
    {"mode": "auto", "max_reasoning_tokens": 4, "response_format": FORM},
    {"mode": "short", "tools": [TOOL], "tool_choice": "required"},
    {"mode": "short", "n": 2, "seed": 1},
    {"mode": "short", "logprobs": True, "top_logprobs": 2},
)


def bodies(count: int) -> list[tuple[dict[str, Any], bool]]:
    """Requests of every kind, streamed and not, and whether the client leaves."""
    draw = random.Random(0)  # noqa: S311 not a secret
    kinds = itertools.islice(itertools.cycle(itertools.product(KINDS, (True, False), (True, False))), count)
    words = ["rain", "wind", "sun", "snow", "river", "train"]
    return [
        (
            {"messages": [{"role": "user", "content": " ".join(draw.choices(words, k=draw.randint(3, 60)))}], **kind}
            | {"stream": stream, "max_completion_tokens": 16 if "response_format" in kind or "tools" in kind else 6},
            leaves,
        )
        for kind, stream, leaves in kinds
    ]


async def send(client: httpx.AsyncClient, body: dict[str, Any], leaves: bool, free: asyncio.Semaphore) -> None:
    """One request; a client that leaves does so at some point of it."""
    async with free:
        request = asyncio.create_task(client.post("/chat/completions", json=body))
        if leaves:
            await asyncio.sleep(random.random() * 0.5)  # noqa: S311
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            return
        (await request).raise_for_status()


def resident(process: psutil.Process) -> float:
    """Resident memory of a process and its children, in MiB."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


async def soak(url: str, process: psutil.Process, count: int, streams: int) -> list[float]:
    """Send the requests; memory after each tenth of them."""
    seen: list[float] = []
    free = asyncio.Semaphore(streams)
    requests = bodies(count)
    size = count // 10
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        with Progress() as progress:
            task = progress.add_task("requests", total=count)
            for at in range(0, count, size):
                part = requests[at : at + size]
                await asyncio.gather(*(send(client, body, leaves, free) for body, leaves in part))
                seen.append(resident(process))
                progress.update(task, advance=len(part), description=f"{seen[-1]:.0f} MiB")
    return seen


def main() -> int:
    """Start the server, soak it, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("serve", nargs="*", help="further options of autotool serve")
    options = parser.parse_args()
    server = servers.autotool("--engine", options.engine, *options.serve)
    log = Path(tempfile.mkdtemp()) / "serve.log"
    with servers.started(server, log) as process:
        seen = asyncio.run(soak(server.url, psutil.Process(process.pid), options.requests, options.streams))
    change = seen[-1] / seen[0] - 1
    print(" ".join(f"{one:.0f}" for one in seen), f"MiB: {change:+.1%} after the warm-up")  # noqa: T201
    return int(abs(change) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
