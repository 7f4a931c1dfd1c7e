"""What goes wrong meanwhile, and when."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.clock import Clock
from chaos.crowd import Crowd
from chaos.parts import Part


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong when a part of all requests has ended."""

    name: str
    at: float
    """The part, from 0 to 1."""
    happen: Callable[[], Awaitable[None]]


async def happening(faults: Sequence[Fault], crowd: Crowd, count: int) -> None:
    """Let faults happen in their order. Ends when all of them are over."""
    running: list[asyncio.Task[None]] = []
    for fault in faults:
        while crowd.done < fault.at * count:  # noqa: ASYNC110 clients are counted, they do not tell
            await asyncio.sleep(0.1)
        running.append(asyncio.ensure_future(_one(fault)))
    await asyncio.gather(*running)


async def _one(fault: Fault) -> None:
    print(f"  {fault.name}", flush=True)
    await fault.happen()


def signalled(part: Part, name: str, number: signal.Signals) -> Callable[[], Awaitable[None]]:
    """Return what sends a signal to the first child process of a ready server that has a text in its command line."""

    async def happen() -> None:
        await part.is_up()
        children = psutil.Process(part.pid).children(recursive=True)
        found = [process for process in children if name in " ".join(process.cmdline())]
        if not found:
            raise RuntimeError(f"{part.name} has no process {name}")
        found[0].send_signal(number)

    return happen


def restarted(part: Part, seconds: float) -> Callable[[], Awaitable[None]]:
    """Return what kills a part, and starts it again after some seconds."""
    return lambda: part.again(seconds)


def full(folder: Path) -> Callable[[], Awaitable[None]]:
    """Return what fills a file system, and makes room again after ten seconds."""

    async def happen() -> None:
        filling = folder / "filling"
        subprocess.run(["dd", "if=/dev/zero", f"of={filling}", "bs=64K"], check=False, capture_output=True)
        await asyncio.sleep(10)
        filling.unlink()

    return happen


def clock_jumps(clock: Clock) -> Callable[[], Awaitable[None]]:
    """Return what sets a clock an hour forward, then an hour back, then right again."""

    async def happen() -> None:
        for seconds in (3600, -3600, 0):
            clock.jump(seconds)
            await asyncio.sleep(5)

    return happen
