"""Tasks of `graded` that come to a server: in an open loop at random times, or in a closed one that keeps a number in progress.

The times to the first token are those of the decision record, from the arrival at the server.
"""

import asyncio
import itertools
import json
import random
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import openai
from openai import AsyncOpenAI
from rich.table import Table

from autotool_bench.perf import servers
from autotool_bench.suites.base import Item
from autotool_bench.suites.graded import Graded
from autotool_bench.target import reply_of
from autotool_client import record
from autotool_client.discovery import find_model
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError

LEVELS = ("level-5", "level-6")
"""The levels of `graded` about which the shipped model thinks most often."""
MAX_TOKENS = 256
REFUSED = 503
P99 = "p99 of first token, s"
"""The figure by which first tokens are compared."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, and what became of it."""

    mode: str
    first_token: float | None = None
    """Seconds from its arrival to its first token; None for one that was refused."""
    is_long: bool = False
    is_solved: bool = False
    load_bias: float = 0.0
    load_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Client:
    """A server to send tasks to."""

    api: AsyncOpenAI
    model: str
    suite: Graded

    async def send(self, item: Item, mode: str, bias: float = 0.0) -> Sent:
        """Send a task, with a reasoning bias of its own. One that the server refuses for its load is not sent again."""
        create: Any = self.api.chat.completions.create
        fields = {"mode": mode, "reasoning_bias": bias}
        options = {"tools": item.tools, "max_completion_tokens": MAX_TOKENS, "extra_body": fields}
        try:
            completion = await create(model=self.model, messages=item.messages, **options)
        except openai.APIStatusError as error:
            if error.status_code != REFUSED:
                raise
            return Sent(mode)
        decision: Any = record(completion)
        turn, score = decision.turns[0], self.suite.score(item, reply_of(completion)).score
        spared = turn.load_bias, turn.load_share
        return Sent(mode, decision.timings.first_token, turn.resolved == "long", score == 1, *spared)


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    """Yield a client of a server, which tries nothing again."""
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=600) as client:
        yield Client(client, await find_model(client), Graded(LEVELS))


def shuffled_items(seed: int) -> list[Item]:
    """Return the tasks in a random order."""
    suite = Graded(LEVELS)
    items = [item for level in LEVELS for item in suite.items(level)]
    random.Random(seed).shuffle(items)  # noqa: S311 not a secret
    return items


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Return the times, in seconds, of a Poisson process of a rate a second, in which as many come as are expected."""
    rng = random.Random(seed)  # noqa: S311 not a secret
    return sorted(rng.uniform(0, seconds) for _ in range(round(rate * seconds)))


async def open_loop(client: Client, rate: float, seconds: float, mode: str, bias: float = 0.0) -> list[Sent]:
    """Send tasks at random times, whatever has been answered before; return all of them."""
    items, start = shuffled_items(0), perf_counter()
    async with asyncio.TaskGroup() as group:
        sent: list[asyncio.Task[Sent]] = []
        for number, time in enumerate(arrivals(rate, seconds)):
            await asyncio.sleep(start + time - perf_counter())
            sent.append(group.create_task(client.send(items[number % len(items)], mode, bias)))
    return [task.result() for task in sent]


async def closed_loop(client: Client, streams: int, mode: str) -> AsyncGenerator[Sent]:
    """Keep so many tasks in progress for as long as it is iterated."""
    items = itertools.cycle(shuffled_items(1))
    running = {asyncio.create_task(client.send(next(items), mode)) for _ in range(streams)}
    try:
        while True:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running |= {asyncio.create_task(client.send(next(items), mode)) for _ in done}
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def capacity(client: Client, streams: int, seconds: float) -> float:
    """Return the tasks in `long` that end in a second while so many are in progress. The first third is left out.

    Raises AutoToolError where too few end to tell.
    """
    start, ends = perf_counter(), list[float]()
    async with aclosing(closed_loop(client, streams, "long")) as thoughts:
        async for _ in thoughts:
            ends.append(perf_counter() - start)
            if ends[-1] > seconds:
                break
    counted = [end for end in ends if end > seconds / 3]
    if len(counted) < 2:
        raise AutoToolError(f"--seconds: in {seconds:g} seconds hardly any task ended. Give it more.")
    return (len(counted) - 1) / (counted[-1] - counted[0])


Figures = Mapping[str, float]


def figures_of(sent: Sequence[Sent]) -> Figures:
    """Return what requests came to: shares, and times in seconds. All of them are NaN where none was answered."""
    answered = [each for each in sent if each.first_token is not None]
    times = [each.first_token for each in answered if each.first_token is not None] or [np.nan]
    return {
        "requests": len(sent),
        "refused": len(sent) - len(answered),
        "p50 of first token, s": float(np.percentile(times, 50)),
        P99: float(np.percentile(times, 99)),
        "thinking rate": _mean(each.is_long for each in answered),
        "solved of answered": _mean(each.is_solved for each in answered),
        "solved of all": _mean(each.is_solved for each in sent),
        "mean load bias": _mean(each.load_bias for each in answered),
        "made shorter": _mean(each.load_share < 1 for each in answered),
    }


def _mean(values: Iterable[float]) -> float:
    numbers = [*values]
    return sum(numbers) / len(numbers) if numbers else np.nan


@contextmanager
def served(name: str, *options: str) -> Iterator[str]:
    """Run `autotool serve` with options; yield its URL. `name`: of the server, for messages."""
    server = servers.autotool("--log-requests", "off", *options, name=name)
    with servers.started(server, Path(tempfile.mkdtemp()) / f"{name}.log"):
        yield server.url


def report(rate: float, found: Mapping[str, Sequence[Sent]], out: Path | None) -> Mapping[str, Figures]:
    """Print the figures of loads, write them with every request to a JSON file, and return them.

    `rate`: the tasks in `long` that the engine holds in a second.
    """
    figures = {name: figures_of(sent) for name, sent in found.items()}
    table = Table("", *figures, title=f"The engine holds {rate:.2f} tasks a second in long")
    for figure in next(iter(figures.values())):
        table.add_row(figure, *(f"{of_load[figure]:.3g}" for of_load in figures.values()))
    plain_console().print(table)
    if out is not None:
        requests = {name: [asdict(each) for each in sent] for name, sent in found.items()}
        written = {"command": sys.argv, "tasks a second in long": rate, "figures": figures, "requests": requests}
        out.write_text(json.dumps(written, indent=1))
    return figures
