"""`autotool bench`: what a solved task costs in tokens, per mode, per model, per server."""

import asyncio
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from openai import AsyncOpenAI
from rich.progress import track

from autotool_bench import rows, suites, target
from autotool_bench import run as running
from autotool_bench.run import Config
from autotool_bench.suites.base import Suite, prove
from autotool_client.discovery import find_model
from autotool_core.errors import AutoToolError
from autotool_core.modes import ModeSwitch
from autotool_core.progress import progress_bar

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=__doc__)

SuiteName = Annotated[str, typer.Option("--suite", help=f"One of {', '.join(suites.SUITES)}.")]
Categories = Annotated[str | None, typer.Option(help="Some of the suite's categories, with commas between. Default: all.")]
Directory = Annotated[Path | None, typer.Option(help="Where the suite's data is, for a suite that reads files.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Items per category. Default: all.")]
Seed = Annotated[int, typer.Option(help="Which items those are.")]
Out = Annotated[Path, typer.Option(help="Folder of the run. A run that was stopped goes on.")]
Url = Annotated[str, typer.Option(help="The server's OpenAI URL.")]
Model = Annotated[str | None, typer.Option(help="The model to ask for. Default: the server's only one.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Attempts under way at once.")]
Temperature = Annotated[float, typer.Option(min=0)]
MaxTokens = Annotated[
    int, typer.Option(min=1, help="Most tokens of an answer, reasoning included unless it has a budget of its own.")
]
MaxReasoning = Annotated[
    int | None, typer.Option(min=0, help="Budget of reasoning, beside that of the answer, for a server of this project.")
]
Timeout = Annotated[float, typer.Option(help="Seconds for one answer.")]
Parameters = Annotated[float | None, typer.Option(help="Parameters of the model, such as 135e6, for ACU.")]
Label = Annotated[str | None, typer.Option(help="What reports call the run. Default: the folder's name.")]
ApiKey = Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="Sent to the server.")]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Attempt again what ended in an error in an earlier start.")]

LOCAL = "http://localhost:8000/v1"


@contextmanager
def _opened(name: str, categories: str | None, directory: Path | None) -> Iterator[Suite]:
    suite = suites.load(name, categories.split(",") if categories else None, directory)
    try:
        yield suite
    finally:
        suite.close()


def _request(temperature: float, max_tokens: int, max_reasoning_tokens: int | None) -> dict[str, float | int]:
    fields = {"temperature": temperature, "max_completion_tokens": max_tokens, "max_reasoning_tokens": max_reasoning_tokens}
    return {name: value for name, value in fields.items() if value is not None}


def _client(url: str, api_key: str, timeout: float) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key=api_key, timeout=timeout, max_retries=0)


async def _found(client: AsyncOpenAI, wanted: str | None) -> str:
    async with client:
        return await find_model(client, wanted, key_option="--api-key or OPENAI_API_KEY")


async def _attempt_all(suite: Suite, config: Config, out: Path, client: AsyncOpenAI) -> None:
    async with client:
        aim = target.Target(client, config.model, ModeSwitch(config.switch), config.request)
        with progress_bar() as progress:
            await running.Run(suite, aim, config, out, progress).go(config.concurrency)


@app.command("run")
def run_suite(
    suite: SuiteName,
    out: Out,
    url: Url = LOCAL,
    model: Model = None,
    modes: Annotated[
        str, typer.Option(help="auto, long, short, default (none asked for); commas between.")
    ] = "auto,long,short",
    switch: Annotated[ModeSwitch, typer.Option(help="How the server is told the mode.")] = ModeSwitch.MODE,
    categories: Categories = None,
    directory: Directory = None,
    limit: Limit = None,
    seed: Seed = 0,
    concurrency: Concurrency = 16,
    temperature: Temperature = 0.0,
    max_tokens: MaxTokens = 1024,
    max_reasoning_tokens: MaxReasoning = None,
    timeout: Timeout = 600.0,
    parameters: Parameters = None,
    label: Label = None,
    api_key: ApiKey = "none",
    retry_errors: RetryErrors = False,
) -> None:
    """Attempt a suite's items in every mode: one row an attempt, written as it ends; then report.

    Stopped, by Ctrl-C or in any other way, it goes on when it is started again with the same options.
    """
    names = tuple(modes.split(","))
    if len(set(names)) < len(names):
        raise AutoToolError("--modes: name each mode once.")
    for name in names:
        target.mode_fields(name, switch)
    # Before the suite, which may have to build an environment first.
    found = asyncio.run(_found(_client(url, api_key, timeout), model))
    with running.locked(out), _opened(suite, categories, directory) as opened:
        config = Config(
            suite=suite,
            url=url,
            model=found,
            modes=names,
            switch=switch.value,
            categories=opened.categories,
            directory=None if directory is None else str(directory),
            limit=limit,
            seed=seed,
            request=_request(temperature, max_tokens, max_reasoning_tokens),
            parameters=parameters,
            label=label,
            concurrency=concurrency,
            timeout=timeout,
        )
        running.open_run(out, config)
        if retry_errors:
            rows.drop_errors(out)
        asyncio.run(_attempt_all(opened, config, out, _client(url, api_key, timeout)))
        running.finish(opened, out, names)
    report([out])


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, shown side by side.", metavar="DIR...")],
    out: Annotated[Path | None, typer.Option(help="Where report.json and report.html go. Default: the first folder.")] = None,
) -> None:
    """Accuracy, tokens, cost per solved task, regret, calibration: a table, report.json and report.html."""
    from autotool_bench.report import write_report  # noqa: PLC0415 matplotlib takes a second

    write_report(folders, out)


@app.command()
def dial(
    suite: SuiteName,
    out: Out,
    biases: Annotated[str, typer.Option(help="FIRST:LAST:STEP of the reasoning bias, in log-odds.")] = "-6:6:2",
    url: Url = LOCAL,
    model: Model = None,
    categories: Categories = None,
    directory: Directory = None,
    limit: Limit = None,
    seed: Seed = 0,
    concurrency: Concurrency = 16,
    max_tokens: MaxTokens = 1024,
    max_reasoning_tokens: MaxReasoning = None,
    api_key: ApiKey = "none",
) -> None:
    """The frontier of accuracy and tokens as the reasoning bias moves: a run in `auto` per bias, one plot."""
    run_suite(
        suite,
        out,
        url,
        model,
        ",".join(f"auto@{bias:g}" for bias in _range(biases)),
        categories=categories,
        directory=directory,
        limit=limit,
        seed=seed,
        concurrency=concurrency,
        max_tokens=max_tokens,
        max_reasoning_tokens=max_reasoning_tokens,
        api_key=api_key,
    )
    from autotool_bench.report import write_dial  # noqa: PLC0415 matplotlib takes a second

    write_dial(out)


def _range(text: str) -> list[float]:
    try:
        first, last, step = (float(part) for part in text.split(":"))
    except ValueError:
        first, last, step = 0.0, 0.0, 0.0
    if not (math.isfinite(first) and math.isfinite(last) and 0 < step <= last - first):
        raise AutoToolError("--biases: FIRST:LAST:STEP with at least two biases, such as -6:6:2.")
    return [round(first + step * at, 9) + 0.0 for at in range(int((last - first) / step + 1e-9) + 1)]


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Folder of another, or the same one.", metavar="B")],
    mode_a: Annotated[str | None, typer.Option(help="Compare this mode of A. Default: every mode with itself.")] = None,
    mode_b: Annotated[str | None, typer.Option(help="With this one of B. Default: the same.")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="List the items that only one of both solves.")] = False,
    out: Annotated[Path | None, typer.Option(help="A file for the comparison as JSON.")] = None,
) -> None:
    """Two runs item by item: accuracy difference with interval, token ratio, who solved what."""
    from autotool_bench.report import compare as compare_runs  # noqa: PLC0415 numpy

    compare_runs(a, b, mode_a, mode_b, ids=ids, out=out)


@app.command("prove")
def prove_suite(suite: SuiteName, categories: Categories = None, directory: Directory = None) -> None:
    """Score every item's gold answer, and a corrupted one; exits 1 unless the first solves every item and the other none.

    Items that are known to have no answer that solves them are named, and left aside.
    """
    with _opened(suite, categories, directory) as opened:
        items, broken = asyncio.run(_prove_all(opened))
        known = [name for name in broken if name in opened.unsolvable]
    if unknown := [name for name in broken if name not in known]:
        raise AutoToolError(f"{len(unknown)} items are broken: {', '.join(unknown[:20])}")
    said = f", but for {len(known)} that no answer solves: {', '.join(known)}" if known else ""
    typer.echo(f"{items} items proved{said}.")


@app.command()
def texts(
    suite: SuiteName,
    out: Annotated[Path, typer.Option(help="The file to write, of JSON strings, one a line; its name ends in .jsonl.")],
    categories: Categories = None,
    directory: Directory = None,
) -> None:
    """Write what a suite's users ask, of several turns in the first, for `autotool train data --against`.

    No training record that shares words with it is kept then.
    """
    if out.suffix != ".jsonl":
        raise AutoToolError(f"--out {out}: let its name end in .jsonl.")
    out.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with _opened(suite, categories, directory) as opened, out.open("w", encoding="utf-8") as lines:
        for category in opened.categories:
            for item in track(opened.items(category), description=category):
                asked = [message["content"] for message in item.messages if message["role"] == "user" and message["content"]]
                lines.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in asked)
                count += len(asked)
    typer.echo(f"{out}: {count} texts.")


async def _prove_all(suite: Suite) -> tuple[int, list[str]]:
    """How many items there are, and those that their gold does not solve, or a corrupted one does."""
    items, broken = 0, list[str]()
    for category in suite.categories:
        for item in track(suite.items(category), description=category):
            right, wrong = await prove(suite, item)
            items += 1
            if right != 1 or wrong == 1:
                broken.append(item.id)
    return items, broken
