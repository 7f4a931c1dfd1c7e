"""The speed of an engine itself at several numbers of streams, without a server or HTTP.

The command is `autotool bench perf streams`. Prompts are random tokens, so that they share nothing in the cache, and every
answer has the same number of greedy tokens. CPU time per token includes child processes. It says more than the tokens per
second where the machine has other work.
"""

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import psutil
import typer

from autotool_bench.perf.servers import cpu_seconds
from autotool_server.engines.base import Engine, EngineRequest, Sampling
from autotool_server.engines.create import EngineName, create_engine
from autotool_server.settings import load_settings

GREEDY = Sampling(temperature=0)
WARM_UP_TOKENS = 8


@dataclass(frozen=True)
class Shape:
    """The requests of a measurement: tokens of each prompt and of each answer."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class StreamsResult:
    """Tokens and times of one number of streams."""

    streams: int
    tokens: int
    seconds: float
    cpu_seconds: float
    gap: float
    """Median time between two tokens of a stream, in seconds."""


def measure(name: EngineName, model: str | None, engine_args: Sequence[str], streams: Sequence[int], shape: Shape) -> None:
    """Start the engine, measure each number of streams, print."""
    arguments = dict(argument.split("=", 1) for argument in engine_args)
    settings = load_settings(engine=name, model=model, engine_arg=arguments)
    asyncio.run(_measure(create_engine(settings), streams, shape))


async def _measure(engine: Engine, streams: Sequence[int], shape: Shape) -> None:
    await engine.start()
    try:
        await _run(engine, 2, Shape(shape.input_tokens, WARM_UP_TOKENS))
        for count in streams:
            _print(await _run(engine, count, shape))
        memory = sum(process.memory_info().rss for process in _processes()) / 2**20
        typer.echo(f"{memory:.0f} MiB resident")
    finally:
        await engine.stop()


async def _run(engine: Engine, streams: int, shape: Shape) -> StreamsResult:
    requests = [_request(engine, number, shape) for number in range(streams)]
    before, began = cpu_seconds(psutil.Process()), time.perf_counter()
    times = await asyncio.gather(*(_stream(engine, request) for request in requests))
    seconds = time.perf_counter() - began
    gaps = [later - earlier for stream in times for earlier, later in itertools.pairwise(stream)]
    return StreamsResult(
        streams,
        streams * shape.output_tokens,
        seconds,
        cpu_seconds(psutil.Process()) - before,
        statistics.median(gaps) if gaps else 0.0,
    )


def _request(engine: Engine, number: int, shape: Shape) -> EngineRequest:
    tokens = range(len(engine.tokenizer))
    prompt = random.choices(tokens, k=shape.input_tokens)  # noqa: S311 not a secret
    return EngineRequest(f"stream-{number}", prompt, shape.output_tokens, sampling=GREEDY)


async def _stream(engine: Engine, request: EngineRequest) -> list[float]:
    """Decode a request; return the times at which its tokens came, in seconds."""
    async with aclosing(engine.generate(request)) as deltas:
        return [time.perf_counter() async for _ in deltas]


def _processes() -> list[psutil.Process]:
    process = psutil.Process()
    return [process, *process.children(recursive=True)]


def _print(result: StreamsResult) -> None:
    typer.echo(
        f"{result.streams:4} streams  {result.tokens / result.seconds:7.1f} tokens/s"
        f"  {1e3 * result.cpu_seconds / result.tokens:7.1f} ms CPU per token  {1e3 * result.gap:7.1f} ms between tokens"
    )
