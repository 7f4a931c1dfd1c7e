"""Short calls beside long thoughts, with `--short-first-seconds` and `--max-long-share` and without: `bench perf short-first`.

The calls are tasks of `graded` in `short`. They come at random times (a Poisson process), alone, and then at the same times
beside thoughts in `long` of which half as many again are in progress as the engine takes, so that some always wait.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import typer

from autotool_bench.perf.task_load import P99, Client, Sent, capacity, client_of, closed_loop, open_loop, report, served

WAITING = 1.5
"""Thoughts in progress, in parts of those that the engine takes."""
SETTLING = 0.25
"""The time in which the engine fills and thoughts get known, in parts of that of the calls."""


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
    figures = report(held, {f"{name}, {load}": sent for name, of in loads.items() for load, sent in of.items()}, options.out)
    for name in loads:
        alone, beside = (figures[f"{name}, {load}"][P99] for load in ("alone", "beside long"))
        typer.echo(f"{name}: p99 of calls beside thoughts / alone: {beside / alone:.2f}")


async def _first(url: str, options: ShortFirstOptions) -> tuple[float, dict[str, list[Sent]]]:
    """Measure what the engine holds, then load the server; return the tasks a second, and what became of the calls."""
    async with client_of(url) as client:
        held = await capacity(client, options.streams, options.seconds / 2)
    return held, await _calls(url, options.rate * held, options)


async def _calls(url: str, rate: float, options: ShortFirstOptions) -> dict[str, list[Sent]]:
    async with client_of(url) as client:
        alone = await open_loop(client, rate, options.seconds, "short")
        return {"alone": alone, "beside long": await _beside_thoughts(client, rate, options)}


async def _beside_thoughts(client: Client, rate: float, options: ShortFirstOptions) -> list[Sent]:
    thinking = asyncio.create_task(_think(client, round(WAITING * options.streams)))
    try:
        await asyncio.sleep(SETTLING * options.seconds)
        return await open_loop(client, rate, options.seconds, "short")
    finally:
        thinking.cancel()
        await asyncio.gather(thinking, return_exceptions=True)


async def _think(client: Client, streams: int) -> None:
    async with aclosing(closed_loop(client, streams, "long")) as thoughts:
        async for _ in thoughts:
            pass
