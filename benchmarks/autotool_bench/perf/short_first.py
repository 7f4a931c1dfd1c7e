"""Short calls beside long thoughts, with `--short-first-seconds` and `--max-long-share` and without: `bench perf short-first`.

The calls are tasks of `graded` in `short`. They come at random times (a Poisson process), alone, and then at the same times
beside thoughts in `long` of which half as many again are in progress as the engine takes, so that some always wait.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import typer

from autotool_bench.perf.task_load import P99, Client, Sent, capacity, client_of, closed_loop, open_loop, report, served
from autotool_core.errors import AutoToolError

WAITING = 1.5
"""Thoughts in progress, in parts of those that the engine takes."""
SETTLING = 0.25
"""The time in which the engine fills and thoughts get known, in parts of that of the calls."""


REFUSED_SECONDS = 1.0
"""Seconds until another thought is sent after one that was refused."""


@dataclass(frozen=True, slots=True)
class ShortFirstOptions:
    """What is measured, and under which load."""

    seconds: float
    """Seconds in which calls come, alone and beside thoughts."""
    streams: int
    """Thoughts in progress at the same time that fill the engine."""
    rate: float
    """Calls a second, in parts of the tasks in long that the engine holds."""
    short_first_seconds: float
    max_long_share: float
    out: Path | None
    """JSON file for the figures and every request."""
    serve_options: Sequence[str]


def measure(options: ShortFirstOptions) -> None:
    """Start the servers one after another, load them, print the figures, and write them with every request."""
    with served("without", *options.serve_options) as url:
        held, without = asyncio.run(_first(url, options))
    first = ("--short-first-seconds", f"{options.short_first_seconds:g}", "--max-long-share", f"{options.max_long_share:g}")
    with served("short-first", *options.serve_options, *first) as url:
        passing = asyncio.run(_calls(url, options.rate * held, options))
    loads = {"without": without, " ".join(first): passing}
    sent = {f"{name}, {load}": calls for name, of in loads.items() for load, calls in of.calls.items()}
    figures = report(held, sent, options.out)
    for name, of in loads.items():
        alone, beside = (figures[f"{name}, {load}"][P99] for load in ("alone", "beside long"))
        typer.echo(f"{name}: p99 of calls beside thoughts / alone: {beside / alone:.2f}; thoughts a second: {of.thoughts:.2f}")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What became of the calls to a server, alone and beside thoughts, and the thoughts that ended in a second beside them."""

    calls: Mapping[str, Sequence[Sent]]
    thoughts: float


async def _first(url: str, options: ShortFirstOptions) -> tuple[float, _Loaded]:
    """Measure what the engine holds, then load the server; return the tasks a second, and what became of the calls."""
    async with client_of(url) as client:
        held = await capacity(client, options.streams, options.seconds / 2)
    return held, await _calls(url, options.rate * held, options)


async def _calls(url: str, rate: float, options: ShortFirstOptions) -> _Loaded:
    async with client_of(url) as client:
        alone = await open_loop(client, rate, options.seconds, "short")
        beside, thoughts = await _beside_thoughts(client, rate, options)
        return _Loaded({"alone": alone, "beside long": beside}, thoughts)


async def _beside_thoughts(client: Client, rate: float, options: ShortFirstOptions) -> tuple[list[Sent], float]:
    """Return what became of the calls, and the thoughts that ended in a second while they came."""
    ended: list[float] = []
    thinking = asyncio.create_task(_think(client, round(WAITING * options.streams), ended))
    try:
        await asyncio.sleep(SETTLING * options.seconds)
        begin = perf_counter()
        sent = await open_loop(client, rate, options.seconds, "short")
        if not sent or thinking.done():
            raise AutoToolError("No call came, or no thought was beside them. Give --seconds or --rate more.")
        return sent, sum(end > begin for end in ended) / (perf_counter() - begin)
    finally:
        thinking.cancel()
        await asyncio.gather(thinking, return_exceptions=True)


async def _think(client: Client, streams: int, ended: list[float]) -> None:
    """Keep so many thoughts in progress, and note when each ends."""
    async with aclosing(closed_loop(client, streams, "long")) as thoughts:
        async for thought in thoughts:
            if thought.first_token is None:  # it was refused
                await asyncio.sleep(REFUSED_SECONDS)
            else:
                ended.append(perf_counter())
