"""The cost of the HTTP server in front of a vLLM engine: CPU time of a token and of a request, relative to stock vLLM's.

The command is `autotool bench perf overhead --against-vllm`. Both servers run vLLM on the same checkpoint with the same engine
flags, and stock vLLM has its parsers of reasoning and of tool calls on, as for any model that thinks. The same clients stream
chat completions from one and then the other, which is suspended meanwhile. Only the CPU time (user and system, all threads) of
the process that answers HTTP is counted, and not that of vLLM's engine core, which is a process of its own on either side.

Two loads tell the two costs apart: answers of one token, and longer ones. The longer answers' further CPU time is that of their
further tokens, and a request costs what is left of an answer of one token.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.progress import track
from rich.table import Table

from autotool_bench.perf import servers
from autotool_bench.perf.load import NAME, mode_fields, pair
from autotool_bench.perf.overhead import ratio
from autotool_bench.perf.servers import Server
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_server import default_model

QUESTION = "Question {number}: which of the four seasons has the longest days, and why? Explain it in a few sentences. "
COSTS = {"token": "us CPU a token", "request": "ms CPU a request"}
"""The names of the costs, with their units."""


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """What is measured, and under which load."""

    model: Path | None
    """Folder of a checkpoint; None: the default model."""
    modes: Sequence[str]
    rounds: int
    streams: int
    """Requests in progress at the same time."""
    tokens: int
    """Tokens of a longer answer, 2 or more."""
    requests: int
    """Longer answers of a load; there are twice as many of one token."""
    out: Path | None = None
    """JSON file for every round's figures."""
    serve_options: Sequence[str] = ()
    """Further options of `autotool serve`."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a load has cost the server: CPU seconds for so many answers, of so many tokens together."""

    requests: int
    tokens: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of a token, in microseconds, and of a request besides its tokens, in milliseconds."""

    token: float
    request: float


Round = dict[str, dict[str, Cost]]
"""The costs of one round: mode → server → cost."""


def cost_of(few: Spent, many: Spent) -> Cost:
    """Return the costs that explain two loads, of which the second has more tokens a request."""
    of_few, of_many = (spent.cpu_seconds / spent.requests for spent in (few, many))
    lengths = [spent.tokens / spent.requests for spent in (few, many)]
    per_token = (of_many - of_few) / (lengths[1] - lengths[0])
    return Cost(1e6 * per_token, 1e3 * (of_few - per_token * lengths[0]))


def request_body(server: Server, mode: str, number: int, tokens: int) -> dict[str, Any]:
    """Return the body of a streamed request with an answer of so many tokens, whatever the model would say."""
    return {
        "model": NAME,
        "messages": [{"role": "user", "content": QUESTION.format(number=number)}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **mode_fields(server, mode),
    }


async def answer(client: httpx.AsyncClient, body: dict[str, Any]) -> int:
    """Stream an answer; return the number of tokens that it had. Raises AutoToolError if it ends with an error."""
    last = b""
    async with client.stream("POST", "/chat/completions", json=body) as response:
        async for part in response.aiter_raw():
            last = (last + part)[-4096:]
        if response.status_code != 200:
            raise AutoToolError(f"A request was answered {response.status_code}: {last[:500].decode(errors='replace')}")
    events = [event.removeprefix(b"data: ") for event in last.split(b"\n\n") if event]
    if len(events) < 2 or events[-1] != b"[DONE]":
        raise AutoToolError("A stream has ended early; the server's log has the cause.")
    return json.loads(events[-2])["usage"]["completion_tokens"]


async def load(server: Server, process: psutil.Process, mode: str, *, streams: int, requests: int, tokens: int) -> Spent:
    """Send requests, `streams` at a time; return what they have cost the process."""
    numbers = iter(range(requests))

    async def stream() -> int:
        return sum([await answer(client, request_body(server, mode, number, tokens)) for number in numbers])

    limits = httpx.Limits(max_connections=streams)
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=limits) as client:
        # Connections are made before.
        await asyncio.gather(*(client.get("/models") for _ in range(streams)))
        before = _cpu_seconds(process)
        decoded = await asyncio.gather(*(stream() for _ in range(streams)))
        return Spent(requests, sum(decoded), _cpu_seconds(process) - before)


def measure_cost(server: Server, process: psutil.Process, mode: str, options: FrontOptions) -> Cost:
    """Return the costs of a server's process in a mode."""

    def spent(requests: int, tokens: int) -> Spent:
        return asyncio.run(load(server, process, mode, streams=options.streams, requests=requests, tokens=tokens))

    return cost_of(spent(2 * options.requests, 1), spent(options.requests, options.tokens))


def measure_against(options: FrontOptions) -> None:
    """Start both servers, load them in turn, print the costs and their ratios. The first round warms up and does not count."""
    model = options.model or default_model.ensure()
    both, folder = (
        pair(str(model), cpu=servers.is_cpu(), ours=options.serve_options, stock=servers.PARSERS),
        Path(tempfile.mkdtemp()),
    )
    with ExitStack() as stack:
        running = {server.name: stack.enter_context(servers.started(server, folder / f"{server.name}.log")) for server in both}
        rounds: list[Round] = []
        for number in track(range(options.rounds + 1), description="rounds"):
            rounds.append(_round(both if number % 2 else both[::-1], running, options))
            if options.out and number:  # after each round, so that a measurement that is ended keeps what it has
                options.out.write_text(json.dumps({"command": sys.argv, **report(rounds[1:])}, indent=1))
    _print(rounds[1:])


def _round(order: Sequence[Server], running: Mapping[str, "subprocess.Popen[bytes]"], options: FrontOptions) -> Round:
    """Measure each server in every mode, while the others are suspended."""
    measured: Round = {mode: {} for mode in options.modes}
    for server in order:
        with ExitStack() as others:
            for other in order:
                if other is not server:
                    others.enter_context(servers.paused(running[other.name]))
            process = psutil.Process(running[server.name].pid)
            for mode in options.modes:
                measured[mode][server.name] = measure_cost(server, process, mode, options)
    return measured


def ratios_of(rounds: Sequence[Round], mode: str, cost: str) -> list[float]:
    """Return the ratios ours / stock of a cost, one a round."""
    return [ratio(getattr(measured[mode]["ours"], cost), getattr(measured[mode]["stock"], cost)) for measured in rounds]


def report(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the figures of all rounds as JSON values."""
    ratios = {mode: {cost: ratios_of(rounds, mode, cost) for cost in COSTS} for mode in rounds[0]}
    plain = [{mode: {name: asdict(cost) for name, cost in of.items()} for mode, of in round_.items()} for round_ in rounds]
    return {"units": COSTS, "rounds": plain, "ratios": ratios}


def _print(rounds: Sequence[Round]) -> None:
    title = f"CPU time of the HTTP process, medians of {len(rounds)} rounds (range)"
    table = Table("mode", "cost", "ours", "stock vLLM", "ours / stock", title=title)
    for mode in rounds[0]:
        for cost, unit in COSTS.items():
            of_servers = [[getattr(measured[mode][name], cost) for measured in rounds] for name in ("ours", "stock")]
            table.add_row(mode, unit, *(_spread(values, 1) for values in of_servers), _spread(ratios_of(rounds, mode, cost), 2))
    plain_console().print(table)


def _spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
