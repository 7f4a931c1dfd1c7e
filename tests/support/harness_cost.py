"""Measure the cost of the benchmark's harness in a separate process: `harness_cost.py URL FOLDER` prints JSON."""

import asyncio
import json
import sys
from pathlib import Path
from time import process_time

import psutil
from openai import AsyncOpenAI
from rich.console import Console

from autotool_bench.manifest import Manifest, open_run
from autotool_bench.progress import progress_bars
from autotool_bench.run import SuiteRun
from autotool_bench.suites import load_suite
from autotool_bench.target import Target
from autotool_core.modes import ModeSwitch


def manifest(limit: int) -> Manifest:
    return Manifest(
        suite="graded",
        url="",
        model="tiny",
        modes=("auto",),
        categories=load_suite("graded").categories,
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
    """Return CPU milliseconds per item, and the growth of memory (MiB) from the first 300 items to the 2,700 after them."""
    target = Target(AsyncOpenAI(base_url=url, api_key="none"), "tiny", ModeSwitch.MODE, {})

    async def attempt_items(limit: int, run: Path) -> None:
        open_run(run, manifest(limit))
        with progress_bars(Console(quiet=True)) as progress:
            await SuiteRun(load_suite("graded"), target, manifest(limit), run, progress).attempt_all()

    await attempt_items(50, folder / "first")
    before, start = psutil.Process().memory_info().rss, process_time()
    await attempt_items(450, folder / "second")
    return {
        "cpu_ms": (process_time() - start) * 1000 / 2700,
        "growth_mib": (psutil.Process().memory_info().rss - before) / 2**20,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], Path(sys.argv[2])))))  # noqa: T201
