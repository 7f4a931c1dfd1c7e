"""The start of a server: seconds until its first answer, and its first request of each kind relative to later ones.

The command is `autotool bench perf start`. The server is started anew in each round. Requests are sent one after another, each
with words of its own, so that no prompt is in the engine's cache. The file system's cache holds the libraries and the model
from the second round on. The remote engine's server is stock vLLM, which runs before the first start until after the last one.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.progress import track
from rich.table import Table

from autotool_bench.perf import servers
from autotool_bench.perf.load import pair
from autotool_bench.perf.servers import Server
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_server import default_model

SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
FUNCTION = {"name": "locate", "description": "Find a city.", "parameters": SCHEMA}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "auto": {"mode": "auto"},
    "stream": {"mode": "auto", "stream": True},
    "call": {"mode": "auto", "tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
    "JSON": {"mode": "auto", "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}},
}
REQUESTS = 10
LATER = 5
"""The first request is compared with the median of the last ones of its kind."""
MAX_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Start:
    """What one start took, in seconds."""

    ready: float
    first_answer: float
    requests: Mapping[str, Sequence[float]]
    """Seconds of each request by kind, in their order."""

    def ratio(self, kind: str) -> float:
        """Return the time of the first request of a kind over the median of the last ones."""
        seconds = self.requests[kind]
        return seconds[0] / statistics.median(seconds[-LATER:])


def measure(engine: str, rounds: int, serve_options: Sequence[str], out: Path | None) -> None:
    """Start the server of an engine in each round, send the requests, print the medians."""
    own_model = "--model" in serve_options
    model = serve_options[serve_options.index("--model") + 1] if own_model else str(default_model.ensure())
    with _remote(model) if engine == "remote" else nullcontext([]) as connection:
        server = servers.autotool("--engine", engine, *connection, *serve_options)
        starts = [_start(server, number) for number in track(range(rounds), description="starts")]
    if out is not None:
        values = [{"ready": start.ready, "first answer": start.first_answer, "requests": start.requests} for start in starts]
        out.write_text(json.dumps({"command": sys.argv, "seconds": values}, indent=1))
    _print(engine, starts)


@contextmanager
def _remote(model: str) -> Iterator[list[str]]:
    """Run stock vLLM on a checkpoint; yield the options by which a server's remote engine connects to it."""
    _, stock = pair(model, cpu=servers.is_cpu())
    with servers.started(stock, Path(tempfile.mkdtemp()) / "stock.log"):
        yield ["--remote-url", stock.url.removesuffix("/v1")]


def _start(server: Server, number: int) -> Start:
    log = Path(tempfile.mkdtemp()) / "server.log"
    began = time.monotonic()
    with servers.started(server, log), httpx.Client(base_url=server.url, timeout=600) as client:
        ready = time.monotonic() - began
        common = {"model": client.get("/models").json()["data"][0]["id"], "max_tokens": MAX_TOKENS, "temperature": 0}
        requests = {
            kind: [_seconds(client, {**common, **fields}, f"{number} {kind} {index}") for index in range(REQUESTS)]
            for kind, fields in KINDS.items()
        }
    return Start(ready, ready + next(iter(requests.values()))[0], requests)


def _seconds(client: httpx.Client, fields: Mapping[str, Any], words: str) -> float:
    """Send a request; return the seconds until its answer had ended."""
    messages = [{"role": "user", "content": f"Question {words}: where is the Eiffel tower?"}]
    began = time.monotonic()
    answer = client.post("/chat/completions", json={"messages": messages, **fields})
    if answer.status_code != 200:
        raise AutoToolError(f"A request was answered {answer.status_code}: {answer.text[:500]}")
    return time.monotonic() - began


def _print(engine: str, starts: Sequence[Start]) -> None:
    table = Table("", "median", "range", title=f"{len(starts)} starts of the {engine} engine")
    table.add_row("seconds until ready", *_spread([start.ready for start in starts]))
    table.add_row("seconds until the first answer", *_spread([start.first_answer for start in starts]))
    for kind in KINDS:
        table.add_row(f"{kind}: first request / later ones", *_spread([start.ratio(kind) for start in starts]))
    plain_console().print(table)


def _spread(values: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"
