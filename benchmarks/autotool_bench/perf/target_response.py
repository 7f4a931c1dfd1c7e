"""How a target of `auto` is held while the traffic changes: easy requests of `graded`, then hard ones.

The command is `autotool bench perf target`. It sends the requests to `autotool serve --target ...`, or replays the decisions of
a run of `autotool bench run` against the same controller, and draws the thinking rate, the tokens and the reasoning bias.
"""

import asyncio
import json
import math
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from matplotlib.figure import Figure
from openai import AsyncOpenAI

from autotool_bench import rows
from autotool_bench.perf import servers
from autotool_bench.report import svg
from autotool_bench.report.write import write_text
from autotool_bench.suites.base import Item
from autotool_bench.suites.graded import Graded
from autotool_client.discovery import find_model
from autotool_core.errors import AutoToolError
from autotool_core.progress import progress_bar
from autotool_core.target import Target
from autotool_server.targets.controller import Controller, Decided

EASY, HARD = ("level-1", "level-2", "level-3"), ("level-4", "level-5", "level-6")
"""The levels of the requests before the shift and after it."""
STRETCH = 200
"""The requests of a row of the table, within which a target is to be met again."""
ROLLING = 100
"""The requests that a point of the plot is the mean of."""
MAX_TOKENS = 256
"""Limit of an answer."""
BOUNDS = (-8.0, 8.0)
SIZE = (8.6, 5.0)
TITLE = "A target of auto while the traffic changes"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to."""

    is_long: bool
    p_long: float
    bias: float
    tokens: int
    """Decoded tokens."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An item of a run: the model's probability of long, and the tokens of its answers."""

    p_long: float
    long: int
    short: int


def measure(target: str, requests: int, streams: int, out: Path, serve_options: Sequence[str]) -> None:
    """Send the requests to a server that has the target; print the table, write the plot and the answers."""
    server = servers.autotool("--target", target, *serve_options)
    items = [*_items(EASY, requests), *_items(HARD, requests)]
    with servers.started(server, Path(tempfile.mkdtemp()) / "serve.log"):
        answers = asyncio.run(_ask(server.url, items, streams))
    _report(target, answers, out)


def simulate(target: str, requests: int, streams: int, out: Path, run: Path) -> None:
    """Replay the decisions of a run of `graded` in auto, long and short; print the table, write the plot and the answers.

    Raises AutoToolError for a run without the three modes or without the levels, and for a regret, whose bias does not move.
    """
    if Target.parse(target).kind == "regret":
        raise AutoToolError("--target: a regret is a constant bias, so that there is nothing to replay. Name another target.")
    recorded = _recorded(run)
    rng = random.Random(0)  # noqa: S311 not a secret
    drawn = [rng.choice(recorded[level]) for levels in (EASY, HARD) for level in rng.choices(levels, k=requests)]
    _report(target, _replayed(Controller(Target.parse(target), 0.0, BOUNDS), drawn, streams, rng), out)


def _replayed(controller: Controller, drawn: Sequence[Recorded], streams: int, rng: random.Random) -> list[Answer]:
    """Decide the items in their order, each with the bias that held before the `streams` decisions before it."""
    answers: list[Answer] = []
    biases = [controller.bias] * streams
    for item in drawn:
        bias = biases.pop(0)
        log_odds = math.log(item.p_long / (1 - item.p_long))
        is_long = rng.random() < 1 / (1 + math.exp(-log_odds - bias))
        tokens = item.long if is_long else item.short
        controller.decided(Decided(log_odds, 1.0, is_long))
        controller.ended(is_long=is_long, tokens=tokens)
        biases.append(controller.bias)
        answers.append(Answer(is_long, item.p_long, bias, tokens))
    return answers


def _recorded(run: Path) -> Mapping[str, Sequence[Recorded]]:
    """Return the items of a run by their level."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows.read(run):
        if row["turns"]:
            found.setdefault((row["category"], row["id"]), {})[row["mode"]] = row["turns"][0]
    levels: dict[str, list[Recorded]] = {level: [] for level in (*EASY, *HARD)}
    for (level, _), modes in found.items():
        if {"auto", "long", "short"} <= modes.keys() and level in levels and modes["auto"]["p_long"] is not None:
            p_long = min(max(modes["auto"]["p_long"], 1e-6), 1 - 1e-6)
            levels[level].append(Recorded(p_long, modes["long"]["generated_tokens"], modes["short"]["generated_tokens"]))
    if missing := [level for level, items in levels.items() if not items]:
        raise AutoToolError(
            f"{run} has no items of {missing[0]} with the modes auto, long and short: make it by `autotool bench run --suite "
            "graded --modes auto,long,short`."
        )
    return levels


def _items(levels: Sequence[str], count: int) -> Iterator[Item]:
    suite = Graded(levels)
    items = [item for level in levels for item in suite.items(level)]
    rng = random.Random(0)  # noqa: S311 not a secret
    rng.shuffle(items)
    return (items[index % len(items)] for index in range(count))


async def _ask(url: str, items: Sequence[Item], streams: int) -> list[Answer]:
    """Return the answers in the order in which they ended."""
    slots, answers = asyncio.Semaphore(streams), list[Answer]()
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        model = await find_model(client)
        with progress_bar() as progress:
            task = progress.add_task("requests", total=len(items))

            async def ask(item: Item) -> None:
                async with slots:
                    answers.append(await _answer(client, model, item))
                progress.update(task, advance=1)

            await asyncio.gather(*map(ask, items))
    return answers


async def _answer(client: AsyncOpenAI, model: str, item: Item) -> Answer:
    create: Any = client.chat.completions.create
    fields = {"temperature": 1, "max_completion_tokens": MAX_TOKENS, "extra_body": {"mode": "auto"}}
    completion = await create(model=model, messages=item.messages, tools=item.tools, **fields)
    turn = completion.model_extra["autotool"]["turns"][0]
    tokens = turn["decision_tokens"] + turn["reasoning_tokens"] + turn["content_tokens"]
    return Answer(turn["resolved"] == "long", turn["p_long"], turn["reasoning_bias"], tokens)


def _report(target: str, answers: Sequence[Answer], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "answers.jsonl", "".join(json.dumps(asdict(answer)) + "\n" for answer in answers))
    typer.echo("requests      thinking rate   tokens   bias")
    for start in range(0, len(answers), STRETCH):
        part = answers[start : start + STRETCH]
        rate, tokens = np.mean([answer.is_long for answer in part]), np.mean([answer.tokens for answer in part])
        biases = [answer.bias for answer in part]
        typer.echo(
            f"{start + 1:>5} to {start + len(part):<5} {rate:>8.1%}  {tokens:>12.1f}   {min(biases):+.2f} to {max(biases):+.2f}"
        )
    description = f"Thinking rate, tokens and reasoning bias of {len(answers)} requests with the target {target}."
    write_text(out / "target.svg", svg.standalone(lambda figure: _draw(figure, target, answers), TITLE, description, SIZE))
    typer.echo(str(out / "target.svg"))


def _draw(figure: Figure, target: str, answers: Sequence[Answer]) -> None:
    """Draw the rolling means of thinking rate or tokens above, and the bias below; a line marks the shift."""
    wanted = Target.parse(target)
    is_tokens = wanted.kind == "tokens"
    values = [float(answer.tokens) if is_tokens else 100.0 * answer.is_long for answer in answers]
    top, bottom = figure.subplots(2, 1, sharex=True)
    window = min(ROLLING, len(values))
    means = np.convolve(values, np.ones(window) / window, "valid")
    top.plot(range(window, len(values) + 1), means, color=svg.AUTO, label=f"mean of the last {window} requests")
    if wanted.kind != "regret":
        top.axhline(wanted.value if is_tokens else 100 * wanted.value, color=svg.INK, ls="--", lw=1.1, label="target")
    top.set_ylabel("tokens" if is_tokens else "thinking rate, %")
    bottom.plot(range(1, len(answers) + 1), [answer.bias for answer in answers], color=svg.LONG)
    bottom.set_ylabel("reasoning bias, log-odds")
    bottom.set_xlabel("requests")
    for axes in (top, bottom):
        axes.axvline(len(answers) / 2, color=svg.MUTED, ls=":", label="levels 1 to 3 before, 4 to 6 after")
    top.legend(loc="best", fontsize=8, frameon=False)
