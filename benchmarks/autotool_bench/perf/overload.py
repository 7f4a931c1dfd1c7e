"""More requests than the engine holds, with `--max-load-bias` and without: the command is `autotool bench perf overload`.

First, what the engine holds is measured: the hard tasks of `graded` in `long`, with as many in progress as the engine takes.
Then tasks in `auto`, with a reasoning bias by which the model would think about nearly all, come at 1.5 times that rate, at
random times that do not depend on the answers (a Poisson process), to a server without the option and to one with it, one after
the other: at the same times and with the same tasks.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autotool_bench.perf.task_load import Sent, capacity, client_of, open_loop, report, served

OVERLOAD = 1.5
"""The rate of arrivals, in parts of what the engine holds in `long`."""


@dataclass(frozen=True, slots=True)
class OverloadOptions:
    """What is measured, and under which load."""

    seconds: float
    """Seconds in which tasks come to each server."""
    streams: int
    """Tasks in progress at the same time that fill the engine."""
    reasoning_bias: float
    """Log-odds that the tasks in `auto` ask for, so that the model would think about nearly all of them."""
    max_load_bias: float
    slo_first_token: float
    max_queue_seconds: float
    """It holds for both servers."""
    out: Path | None
    """JSON file for the figures and every request."""
    serve_options: Sequence[str]


def measure(options: OverloadOptions) -> None:
    """Start the servers one after another, load them, print the figures, and write them with every request."""
    shared = (*options.serve_options, "--max-queue-seconds", f"{options.max_queue_seconds:g}")
    relief = ("--max-load-bias", f"{options.max_load_bias:g}", "--slo-first-token", f"{options.slo_first_token:g}")
    with served("without", *shared) as url:
        rate, without = asyncio.run(_first(url, options))
    with served("max-load-bias", *shared, *relief) as url:
        relieved = asyncio.run(_overloaded(url, rate, options))
    report(rate, {"without": without, " ".join(relief): relieved}, options.out)


async def _first(url: str, options: OverloadOptions) -> tuple[float, list[Sent]]:
    """Measure what the engine holds, then load the server."""
    async with client_of(url) as client:
        rate = await capacity(client, options.streams, options.seconds / 2)
    return rate, await _overloaded(url, rate, options)


async def _overloaded(url: str, rate: float, options: OverloadOptions) -> list[Sent]:
    async with client_of(url) as client:
        return await open_loop(client, OVERLOAD * rate, options.seconds, "auto", options.reasoning_bias)
