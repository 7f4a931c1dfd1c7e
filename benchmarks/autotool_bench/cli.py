"""`autotool bench`: what a solved task costs in tokens, per mode, per model, per server."""

import asyncio
import json
import math
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from autotool_bench.config import LOCAL_URL, RunConfig
from autotool_bench.options import (
    Categories,
    Concurrency,
    Directory,
    Limit,
    MaxReasoning,
    MaxTokens,
    Out,
    Parameters,
    SuiteName,
    split_names,
)
from autotool_bench.perf.cli import app as perf
from autotool_bench.run import OwnServer, execute
from autotool_bench.suites import load_suite
from autotool_bench.suites.base import Suite, score_gold
from autotool_core import extras
from autotool_core.errors import AutoToolError
from autotool_core.modes import ModeSwitch

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=__doc__)
app.add_typer(perf, name="perf")

Seed = Annotated[int, typer.Option(help="Seed of the choice of items that --limit makes.")]
Url = Annotated[
    str | None, typer.Option(help=f"OpenAI base URL of a running server. Default: {LOCAL_URL}, or the own server of --model.")
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Checkpoint (a folder or a hub id, or default for the default model) for which a server is started and ended "
        "with the run. With --url: the name of the model there. Default: the server's only model."
    ),
]
ServeOptions = Annotated[
    str | None,
    typer.Option(help="Options of autotool serve for the server that --model starts, such as '--engine transformers'."),
]
ApiKey = Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key of the server.")]


@app.command("run")
def run_suite(
    suite: SuiteName,
    out: Out,
    url: Url = None,
    model: Model = None,
    serve_options: ServeOptions = None,
    modes: Annotated[
        str, typer.Option(help="Modes, separated by commas: auto, long, short, default (no mode is requested).")
    ] = "auto,long,short",
    switch: Annotated[ModeSwitch, typer.Option(help="The request field that sets the mode.")] = ModeSwitch.MODE,
    categories: Categories = None,
    directory: Directory = None,
    limit: Limit = None,
    seed: Seed = 0,
    concurrency: Concurrency = 16,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature; 0 is greedy.")] = 0.0,
    max_tokens: MaxTokens = 1024,
    max_reasoning_tokens: MaxReasoning = None,
    timeout: Annotated[float, typer.Option(help="Seconds per answer.")] = 600.0,
    parameters: Parameters = None,
    label: Annotated[str | None, typer.Option(help="Name of the run in reports. Default: the folder's name.")] = None,
    api_key: ApiKey = "none",
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Attempt the items again that ended in an error in an earlier start.")
    ] = False,
) -> None:
    """Attempt a suite's items in every mode: one row per attempt, written as soon as it ends; then report.

    A run that was stopped, by Ctrl-C or otherwise, resumes when it is started again with the same options.
    """
    _execute(**locals())
    report([out])


def _execute(url: str | None, model: str | None, serve_options: str | None, **options: Any) -> None:
    """Execute a run on the server at a URL, or on one that is started for the model."""
    if url is not None or model is None:
        if serve_options is not None:
            raise AutoToolError("--serve-options: they are for the server that --model starts where no --url is given.")
        execute(_config(**options, url=url or LOCAL_URL, model=model))
        return
    extras.require("`autotool bench run --model`, which starts a server,", "server")
    from autotool_bench import own_server  # noqa: PLC0415 most runs need none

    config, words = _config(**options), own_server.read_options(serve_options)
    start = partial(own_server.own_server, model, words, config.out)
    execute(config, OwnServer(own_server.model_name(model, words), start))


def _config(modes: str, categories: str | None, **options: Any) -> RunConfig:
    """Return the configuration of a command's options; `options` are the fields of RunConfig that need no parsing."""
    return RunConfig(modes=tuple(modes.split(",")), categories=split_names(categories), **options)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, shown side by side.", metavar="DIR...")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of report.json and report.html. Default: the first run's folder.")
    ] = None,
) -> None:
    """Report accuracy, tokens, cost per solved task, regret and calibration: tables, report.json and report.html."""
    from autotool_bench.report import write_report  # noqa: PLC0415 matplotlib takes a second

    write_report(folders, out)


@app.command()
def dial(
    suite: SuiteName,
    out: Out,
    biases: Annotated[str, typer.Option(help="Reasoning biases in log-odds, as FIRST:LAST:STEP.")] = "-6:6:2",
    url: Url = None,
    model: Model = None,
    serve_options: ServeOptions = None,
    categories: Categories = None,
    directory: Directory = None,
    limit: Limit = None,
    seed: Seed = 0,
    concurrency: Concurrency = 16,
    max_tokens: MaxTokens = 1024,
    max_reasoning_tokens: MaxReasoning = None,
    api_key: ApiKey = "none",
) -> None:
    """Find the reasoning bias to take for a cost: accuracy and tokens of `auto` at each bias, of short and of long.

    The plot has the straight line from short to long, which is what a coin toss between the two reaches.
    """
    options = locals()
    modes = ["short", *(f"auto@{bias:g}" for bias in _parse_biases(options.pop("biases"))), "long"]
    _execute(modes=",".join(modes), without_relief=True, **options)
    report([out])
    from autotool_bench.report import write_dial  # noqa: PLC0415 matplotlib takes a second

    write_dial(out)


def _parse_biases(text: str) -> list[float]:
    try:
        first, last, step = (float(part) for part in text.split(":"))
    except ValueError:
        first, last, step = 0.0, 0.0, 0.0
    if not (math.isfinite(first) and math.isfinite(last) and 0 < step <= last - first):
        raise AutoToolError("--biases: give FIRST:LAST:STEP with at least two biases, such as -6:6:2.")
    return [round(first + step * index, 9) + 0.0 for index in range(int((last - first) / step + 1e-9) + 1)]


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Folder of another run, or the same one.", metavar="B")],
    mode_a: Annotated[str | None, typer.Option(help="The mode of A to compare. Default: every mode with itself.")] = None,
    mode_b: Annotated[str | None, typer.Option(help="The mode of B to compare it with. Default: the same mode.")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="List the items that only one of the two solves.")] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the comparison to.")] = None,
) -> None:
    """Compare two runs item by item: difference of accuracy with its interval, ratio of tokens, who solves what."""
    from autotool_bench.report import compare as compare_runs  # noqa: PLC0415 numpy

    compare_runs(a, b, mode_a, mode_b, ids=ids, out=out)


@app.command("items")
def show_items(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")],
    mode: Annotated[str | None, typer.Option(help="The mode whose attempts are shown. Default: all modes.")] = None,
    wrong: Annotated[
        bool | None, typer.Option("--wrong/--solved", help="Only items that the mode (or any mode) did not solve, or did.")
    ] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="Only items with a thought or an answer that a limit of tokens cut.")
    ] = False,
    categories: Categories = None,
    item: Annotated[
        list[str] | None, typer.Option("--id", help="Only the item of this id; may be given several times.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="Only items that have this text in question, answers or verdict.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Number of items to show; 0: all.")] = 10,
    full: Annotated[bool, typer.Option("--full", help="Show long texts whole.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line per item, with whole texts.")] = False,
) -> None:
    """Show a run's items: question, expected answer, and each mode's answer with its verdict.

    An item is shown if one attempt has all the properties asked for; the attempts are those of the mode, or of all.

      autotool bench items runs/graded --wrong --mode auto
    """
    from autotool_bench.report import listing  # noqa: PLC0415 numpy

    selection = listing.Selection(mode, wrong, cut, split_names(categories), tuple(item or ()), search)
    listing.show_items(run, selection, limit=limit or None, full=full, as_json=as_json)


def selftest(suite: SuiteName, categories: Categories = None, directory: Directory = None) -> None:
    """Check a suite against itself: every item's gold answer must score 1 and a corrupted one must not; else exit with 1.

    Items that are known to have no correct answer are listed and do not count as failures.
    """
    with closing(load_suite(suite, split_names(categories), directory)) as loaded:
        count, failed = asyncio.run(_score_all_gold(loaded))
        known = [name for name in failed if name in loaded.unsolvable]
    if unknown := [name for name in failed if name not in known]:
        raise AutoToolError(f"{len(unknown)} items fail: {', '.join(unknown[:20])}")
    exceptions = f", except {len(known)} that no answer solves: {', '.join(known)}" if known else ""
    typer.echo(f"{count} items passed{exceptions}.")


app.command("selftest")(selftest)
app.command("prove", hidden=True)(selftest)  # the earlier name


async def _score_all_gold(suite: Suite) -> tuple[int, list[str]]:
    """Return the number of items, and the ids of those whose gold answer fails or whose corrupted answer passes."""
    count, failed = 0, list[str]()
    for category in suite.categories:
        for item in track(suite.items(category), description=category):
            gold, corrupted = await score_gold(suite, item)
            count += 1
            if gold != 1 or corrupted == 1:
                failed.append(item.id)
    return count, failed


@app.command()
def texts(
    suite: SuiteName,
    out: Annotated[Path, typer.Option(help="File to write, one JSON string per line; its name must end in .jsonl.")],
    categories: Categories = None,
    directory: Directory = None,
) -> None:
    """Write the user messages of a suite, for `autotool train data --against`: no training record then shares words with them.

    Of a conversation whose messages come turn by turn, the first turn is written.
    """
    if out.suffix != ".jsonl":
        raise AutoToolError(f"--out {out}: give a file whose name ends in .jsonl.")
    out.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with closing(load_suite(suite, split_names(categories), directory)) as loaded, out.open("w", encoding="utf-8") as lines:
        for text in _user_texts(loaded):
            lines.write(json.dumps(text, ensure_ascii=False) + "\n")
            count += 1
    typer.echo(f"{out}: {count} texts.")


def _user_texts(suite: Suite) -> Iterator[str]:
    for category in suite.categories:
        for item in track(suite.items(category), description=category):
            yield from (message["content"] for message in item.messages if message["role"] == "user" and message["content"])
