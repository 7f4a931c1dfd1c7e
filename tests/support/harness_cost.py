"""What the benchmark's harness costs, measured in a process of its own: `harness_cost.py URL FOLDER` prints JSON."""

import asyncio
import json
import sys
from pathlib import Path
from time import process_time

import psutil
from openai import AsyncOpenAI
from rich.progress import Progress

from autotool_bench import suites
from autotool_bench.run import Config, Run, open_run
from autotool_bench.target import Target
from autotool_core.modes import ModeSwitch


def config(limit: int) -> Config:
    return Config(
        suite="graded",
        url="",
        model="tiny",
        modes=("auto",),
        categories=suites.load("graded").categories,
        limit=limit,
        seed=0,
        request={},
        switch="mode",
        label=None,
        parameters=None,
        directory=None,
        concurrency=8,
        timeout=60.0,
    )


async def measure(url: str, folder: Path) -> dict[str, float]:
    """CPU an item, and growth of memory between the first 300 items and the 2,700 after them."""
    target = Target(AsyncOpenAI(base_url=url, api_key="none"), "tiny", ModeSwitch.MODE, {})

    async def take(limit: int, into: Path) -> None:
        open_run(into, config(limit))
        with Progress(disable=True) as progress:
            await Run(suites.load("graded"), target, config(limit), into, progress).go(8)

    await take(50, folder / "first")
    before, start = psutil.Process().memory_info().rss, process_time()
    await take(450, folder / "second")
    return {
        "cpu_ms": (process_time() - start) * 1000 / 2700,
        "growth_mib": (psutil.Process().memory_info().rss - before) / 2**20,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], Path(sys.argv[2])))))  # noqa: T201
