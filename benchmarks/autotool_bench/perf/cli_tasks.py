"""Measurements of whole tasks: a loop of tool calls, and suites on several servers or checkpoints."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from autotool_bench.config import RunConfig
from autotool_bench.options import (
    Categories,
    Concurrency,
    Directory,
    Limit,
    MaxTokens,
    Parameters,
    SuiteName,
    split_names,
)
from autotool_bench.perf.cli_options import MEASUREMENT, CheckpointOption, JsonOut, PerfOut, Rounds
from autotool_core.extras import require, require_vllm

app = typer.Typer()


@app.command("tool-loop")
def tool_loop(
    rounds: Rounds = 10,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds that each tool call takes.")] = 0.2,
    out: JsonOut = None,
) -> None:
    """Wall time of a task with server tools, relative to the same loop in a client of stock vLLM.

    The task is six tool calls over three turns, two in each, and an answer. A tiny model that has memorized these turns is
    trained first (one minute), so that both servers decode the same tokens. The client makes its calls one after another,
    and in a second measurement at the same time. Needs vLLM and the `train` extra. Takes some seconds per round, after
    minutes in which the model is trained and both servers start.

      autotool bench perf tool-loop --rounds 5 --out tool_loop.json
    """
    require(MEASUREMENT, "server", "train", "bench")
    require_vllm(MEASUREMENT)
    from autotool_bench.perf.tool_loop import measure  # noqa: PLC0415 needs the extras

    measure(rounds, seconds, out)


@app.command("side-by-side")
def side_by_side(
    suite: SuiteName,
    out: PerfOut,
    model: CheckpointOption = None,
    categories: Categories = None,
    directory: Directory = None,
    limit: Limit = None,
    max_tokens: MaxTokens = 128,
    max_reasoning_tokens: Annotated[
        int, typer.Option(min=0, help="Maximum reasoning tokens on this server; stock vLLM has no such limit.")
    ] = 32,
    concurrency: Concurrency = 32,
    parameters: Parameters = None,
) -> None:
    """Run a suite through this server in its three modes, then through stock vLLM, and report both.

    The servers run one after the other, with the same engine flags. Stock vLLM sets the mode by `enable_thinking` and parses
    the answers by its own parsers; only --max-tokens limits its reasoning. Needs vLLM. Takes as long as both runs.

      autotool bench perf side-by-side --suite graded --limit 50 --out runs/graded
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.side_by_side import measure  # noqa: PLC0415 needs the extras

    config = RunConfig(
        suite=suite,
        out=out,
        categories=split_names(categories),
        directory=directory,
        limit=limit,
        max_tokens=max_tokens,
        max_reasoning_tokens=max_reasoning_tokens,
        concurrency=concurrency,
        parameters=parameters,
    )
    measure(config, model)


@app.command()
def checkpoints(
    folders: Annotated[list[Path], typer.Argument(help="Folders of checkpoints, with distinct names.", metavar="CHECKPOINT")],
    suite: SuiteName,
    out: PerfOut,
    modes: Annotated[str, typer.Option(help="Modes, separated by commas.")] = "auto,long,short",
    engine: Annotated[Literal["vllm", "transformers"], typer.Option(help="Engine of the server.")] = "vllm",
    categories: Categories = None,
    directory: Directory = None,
    limit: Limit = None,
    max_tokens: MaxTokens = 128,
    concurrency: Concurrency = 32,
    parameters: Parameters = None,
) -> None:
    """Run a suite through several checkpoints, each served by this server in turn, and report all of them.

    The rows of a checkpoint go to the folder of its name in --out. Takes as long as all the runs.

      autotool bench perf checkpoints tiny/rl-0 tiny/grpo-0 --suite graded --limit 100 --max-tokens 256 --out tiny/eval
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.checkpoints import measure  # noqa: PLC0415 needs the extras

    config = RunConfig(
        suite=suite,
        out=out,
        modes=tuple(modes.split(",")),
        categories=split_names(categories),
        directory=directory,
        limit=limit,
        max_tokens=max_tokens,
        concurrency=concurrency,
        parameters=parameters,
    )
    measure(config, folders, engine)
