"""Quotes against what then happened: `POST /v1/chat/completions/quote`, then the chat completion itself.

The command is `autotool bench perf quote`. It starts `autotool serve`, has it answer some requests of `graded` in auto, so that
it knows some answers, and then asks for two quotes before each further request: with the request's seed, and without one.
"""

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from openai import AsyncOpenAI

from autotool_bench.perf import servers
from autotool_bench.report.write import write_text
from autotool_bench.suites.base import Item
from autotool_bench.suites.graded import Graded
from autotool_client.discovery import find_model
from autotool_core.progress import progress_bar

MAX_TOKENS = 256
"""Limit of an answer."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """A request: its quotes, and what then happened."""

    seeded: Json
    unseeded: Json
    resolved: str
    tokens: int
    seconds: float
    cached_tokens: int
    """Those of the answer's prompt: the quotes have left it in the cache."""


def measure(requests: int, warm_up: int, streams: int, out: Path, serve_options: Sequence[str]) -> None:
    """Ask a server; print the shares that kept to their quotes, and write all quotes and answers."""
    server = servers.autotool(*serve_options)
    with servers.started(server, Path(tempfile.mkdtemp()) / "serve.log"):
        kept = asyncio.run(_ask(server.url, [*_items(warm_up + requests)], warm_up, streams))
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "quotes.jsonl", "".join(json.dumps(asdict(one)) + "\n" for one in kept))
    _report(kept)


def _items(count: int) -> Iterator[Item]:
    suite = Graded()
    items = [item for level in suite.categories for item in suite.items(level)]
    rng = random.Random(0)  # noqa: S311 not a secret
    rng.shuffle(items)
    return (items[index % len(items)] for index in range(count))


async def _ask(url: str, items: Sequence[Item], warm_up: int, streams: int) -> list[Kept]:
    slots, kept = asyncio.Semaphore(streams), list[Kept]()
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        model = await find_model(client)
        with progress_bar() as progress:
            task = progress.add_task("requests", total=len(items))

            async def ask(number: int, item: Item) -> None:
                async with slots:
                    body = _body(model, item, number)
                    if number < warm_up:
                        await _post(client, body)
                    else:
                        kept.append(await _kept(client, body))
                progress.update(task, advance=1)

            await asyncio.gather(*(ask(number, item) for number, item in enumerate(items)))
    return kept


def _body(model: str, item: Item, seed: int) -> Json:
    fields = {"mode": "auto", "temperature": 1, "seed": seed, "max_completion_tokens": MAX_TOKENS}
    return {"model": model, "messages": item.messages, "tools": item.tools, **fields}


async def _kept(client: AsyncOpenAI, body: Json) -> Kept:
    seeded = await _post(client, body, "/quote")
    unseeded = await _post(client, {name: value for name, value in body.items() if name != "seed"}, "/quote")
    began = time.perf_counter()
    answer = await _post(client, body)
    seconds = time.perf_counter() - began
    usage = answer["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    resolved = answer["autotool"]["turns"][0]["resolved"]
    return Kept(seeded, unseeded, resolved, usage["completion_tokens"], seconds, cached)


async def _post(client: AsyncOpenAI, body: Json, path: str = "") -> Json:
    answer: Any = await client.post(f"/chat/completions{path}", body=body, cast_to=object)
    return answer


def _report(kept: Sequence[Kept]) -> None:
    typer.echo("quote         quoted  tokens within  their width  seconds within  mode as quoted")
    kinds: dict[str, Callable[[Kept], Json]] = {
        "with seed": lambda one: one.seeded,
        "without seed": lambda one: one.unseeded,
    }
    for name, quote_of in kinds.items():
        pairs = [(quote_of(one), one) for one in kept if quote_of(one)["completion_tokens"] is not None]
        if not pairs:
            typer.echo(f"{name:<13} none: too few answers before them")
            continue
        tokens = np.mean([_is_within(quote["completion_tokens"], one.tokens) for quote, one in pairs])
        width = np.mean([quote["completion_tokens"]["p95"] - quote["completion_tokens"]["p5"] for quote, _ in pairs])
        seconds = np.mean([_is_within(quote["seconds"], one.seconds) for quote, one in pairs])
        mode = np.mean([quote["resolved"] == one.resolved for quote, one in pairs])
        typer.echo(f"{name:<12} {len(pairs):>7} {tokens:>14.1%} {width:>12.1f} {seconds:>15.1%} {mode:>15.1%}")
    shares = [one.cached_tokens / one.seeded["prompt_tokens"] for one in kept]
    typer.echo(f"{np.mean(shares):.1%} of the tokens of a prompt were in the cache after its quotes")


def _is_within(quantiles: Json, value: float) -> bool:
    return quantiles["p5"] <= value <= quantiles["p95"]
