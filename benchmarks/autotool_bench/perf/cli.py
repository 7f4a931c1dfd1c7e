"""Measure the speed and memory of the server and of the trainer."""

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
from autotool_core.errors import AutoToolError
from autotool_core.extras import require, require_vllm
from autotool_core.modes import Mode
from autotool_core.target import Target

MEASUREMENT = "This measurement"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=__doc__)

Rounds = Annotated[int, typer.Option(min=1, help="Rounds; the reported figures are medians over them.")]
JsonOut = Annotated[Path | None, typer.Option(help="JSON file to write every round's figures to.")]
Streams = Annotated[int, typer.Option(min=1, help="Requests in progress at the same time.")]
CheckpointOption = Annotated[Path | None, typer.Option(help="Folder of a checkpoint. Default: the default model.")]
LoadSeconds = Annotated[float, typer.Option(min=1, help="Seconds of each load.")]
FullStreams = Annotated[int, typer.Option(min=1, help="Requests in progress that fill the engine: its max_num_seqs.")]
ServeOptions = Annotated[
    list[str] | None, typer.Argument(help="Further options, which go to the servers.", metavar="SERVE_OPTION")
]
PerfOut = Annotated[Path, typer.Option(help="Folder of the runs and of their report. Runs that were stopped resume.")]


@app.command()
def load(
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a checkpoint whose chat template reads enable_thinking. Default: the default model."),
    ] = None,
    modes: Annotated[str, typer.Option(help="Modes to measure, separated by commas.")] = "auto,long,short",
    rounds: Rounds = 5,
    streams: Streams = 32,
    requests: Annotated[int, typer.Option(min=1, help="Requests per run of the load generator.")] = 64,
    input_tokens: Annotated[int, typer.Option(min=1, help="Tokens per prompt.")] = 64,
    output_tokens: Annotated[int, typer.Option(min=1, help="Tokens per answer.")] = 64,
    out: JsonOut = None,
) -> None:
    """Throughput and latency under load, relative to stock vLLM: same model, engine flags and prompts.

    vLLM's own load generator loads both servers in turn. Machines are shared and noisy, so only the ratios within a round
    count; their medians are reported. A ratio above 1 is good for throughput and bad for times. With auto and short, the ratio
    of the two is what a decision costs; stock vLLM has no auto, and answers in short beside it. Needs vLLM. Takes two loads per
    mode and round, after some minutes in which both servers start.

      autotool bench perf load --rounds 3 --streams 8 --out load.json
    """
    require(MEASUREMENT, "server", "bench")
    require_vllm(MEASUREMENT)
    from autotool_bench.perf.load import LoadOptions, measure  # noqa: PLC0415 needs the extras

    measure(LoadOptions(model, _modes(modes), rounds, streams, requests, input_tokens, output_tokens, out))


def _modes(names: str) -> list[Mode]:
    """Return the modes of an option. Raises typer.BadParameter for a name that is none."""
    try:
        return [Mode(name.strip()) for name in names.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; the modes are {', '.join(Mode)}.", param_hint="--modes") from None


@app.command(context_settings={"ignore_unknown_options": True})
def overhead(
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a checkpoint. Default: the default model. Without vLLM only its tokenizer is used."),
    ] = None,
    against_vllm: Annotated[
        bool, typer.Option("--against-vllm", help="Compare with stock vLLM, both with a vLLM engine.")
    ] = False,
    streams: Streams = 32,
    tokens: Annotated[int | None, typer.Option(min=2, help="Tokens per answer. Default: 512, and 65 with vLLM.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds per mode, and per round with further options.")] = 10.0,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of a comparison. Default: 15, and 5 with vLLM.")] = None,
    key: Annotated[str, typer.Option(help="Key that the clients send.")] = "none",
    modes: Annotated[str, typer.Option(help="With vLLM: modes, separated by commas: long, short.")] = "short",
    requests: Annotated[int, typer.Option(min=1, help="With vLLM: long answers of a load.")] = 64,
    out: JsonOut = None,
    serve_options: Annotated[
        list[str] | None,
        typer.Argument(help="Options of `autotool serve`, of which the cost is measured.", metavar="SERVE_OPTION"),
    ] = None,
) -> None:
    """CPU time that the server itself spends per token: one process on one core, an engine that costs nothing.

    Watch the CPU time per token: it stays the same on a noisy machine, the tokens per second do not. Takes about 40 seconds.
    With options of `autotool serve`, a server with them and one without are measured in turn, in auto.

    With --against-vllm, this server and stock vLLM's run the checkpoint with a vLLM engine and are loaded in turn by the same
    clients. The CPU time of the process that answers HTTP is told apart into that of a token and that of a request. Needs vLLM.
    Takes two loads per mode, server and round, after minutes in which both servers start.

      autotool bench perf overhead --model training/checkpoints/graded-tiny
      autotool bench perf overhead --model training/checkpoints/graded-tiny --tokens 16 --key K --keys keys.toml
      autotool bench perf overhead --against-vllm --out front.json
    """
    require(MEASUREMENT, "server", "bench")
    if against_vllm:
        require_vllm(MEASUREMENT)
        from autotool_bench.perf.against_vllm import FrontOptions, measure_against  # noqa: PLC0415 needs the extras

        names = tuple(modes.split(","))
        options = FrontOptions(model, names, rounds or 5, streams, tokens or 65, requests, out, tuple(serve_options or ()))
        measure_against(options)
        return
    from autotool_bench.perf.overhead import Load, compare, folder_of, measure  # noqa: PLC0415 needs the extras

    folder, load = folder_of(model), Load(streams, tokens or 512, seconds, key)
    if serve_options:
        compare(folder, load, serve_options, rounds or 15)
    else:
        measure(folder, load)


@app.command(context_settings={"ignore_unknown_options": True})
def soak(
    engine: Annotated[
        Literal["transformers", "vllm", "stock-vllm"],
        typer.Option(help="Engine of the server, or vLLM's own server with the same requests, to compare with."),
    ],
    requests: Annotated[int, typer.Option(min=10, help="Requests in total.")] = 2000,
    streams: Streams = 16,
    serve_options: Annotated[
        list[str] | None, typer.Argument(help="Further options, which go to the server.", metavar="SERVE_OPTION")
    ] = None,
) -> None:
    """Memory of the server over many mixed requests, half of which the client cancels.

    Starts the server and prints the resident memory of its process tree after each tenth of the requests, and of each
    process at the first and the last. The first tenth is warm-up. Exits with 1 if the memory changes by more than 5 % after
    it, or if a request fails. Takes as long as the engine needs for the answers, of 6 or 16 tokens each.

      autotool bench perf soak --engine transformers --requests 500 --model training/checkpoints/graded-tiny
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.soak import measure  # noqa: PLC0415 needs the extras

    measure(engine, requests, streams, serve_options or [])


@app.command()
def streams(
    engine: Annotated[Literal["transformers", "vllm"], typer.Option(help="Engine to measure.")] = "transformers",
    model: CheckpointOption = None,
    streams: Annotated[str, typer.Option(help="Numbers of streams, separated by commas.")] = "1,8,32",
    input_tokens: Annotated[int, typer.Option(min=1, help="Tokens per prompt.")] = 64,
    output_tokens: Annotated[int, typer.Option(min=2, help="Tokens per answer.")] = 64,
    engine_arg: Annotated[list[str] | None, typer.Option(help="Argument of the engine, NAME=VALUE; repeatable.")] = None,
) -> None:
    """Tokens per second and CPU time per token of an engine alone, at several numbers of streams.

    The engine runs in this process, without a server. Prompts are random tokens and answers are greedy. Where the machine has
    other work, compare the CPU times. Takes about two minutes with the default model on two cores.

      autotool bench perf streams --engine transformers --streams 1,32
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.streams import Shape, measure  # noqa: PLC0415 needs the extras

    counts = [int(count) for count in streams.split(",")]
    measure(engine, None if model is None else str(model), engine_arg or [], counts, Shape(input_tokens, output_tokens))


@app.command(context_settings={"ignore_unknown_options": True})
def start(
    engine: Annotated[
        Literal["transformers", "vllm", "remote"],
        typer.Option(help="Engine of the server. The remote one gets a stock vLLM server that is started before it."),
    ] = "transformers",
    rounds: Annotated[int, typer.Option(min=1, help="Starts; the reported figures are medians over them.")] = 3,
    out: JsonOut = None,
    serve_options: Annotated[
        list[str] | None, typer.Argument(help="Further options, which go to the server.", metavar="SERVE_OPTION")
    ] = None,
) -> None:
    """Seconds from the start of the server to its first answer, and how much longer the first requests take than later ones.

    Sends ten requests of each of four kinds, one after another: a plain one, a stream, one that must call a tool and one whose
    answer has a schema. The first of each kind is compared with the median of the last five. Takes a minute or two per start on
    two cores.

      autotool bench perf start --engine vllm
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.start import measure  # noqa: PLC0415 needs the extras

    measure(engine, rounds, serve_options or [], out)


@app.command("target", context_settings={"ignore_unknown_options": True})
def target_response(
    target: Annotated[str, typer.Option(help="The target: thinking-rate=0.3 or tokens=200.")],
    out: Annotated[Path, typer.Option(help="Folder of the plot and the answers.")],
    simulate: Annotated[
        Path | None,
        typer.Option(help="Folder of a run of `graded` in auto, long and short whose decisions are replayed; no server runs."),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests before the change of the traffic, and after it.")] = 400,
    streams: Streams = 8,
    serve_options: Annotated[
        list[str] | None, typer.Argument(help="Further options, which go to the server.", metavar="SERVE_OPTION")
    ] = None,
) -> None:
    """How a target of `auto` is held when easy requests of `graded` give way to hard ones.

    A server with the target is started and asked, at temperature 1. The table has the thinking rate, the tokens and the bias of
    every 200 requests, the plot their course.

      autotool bench perf target --target thinking-rate=0.3 --out runs/target --model training/checkpoints/graded-tiny
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf import target_response as response  # noqa: PLC0415 needs the extras

    try:
        Target.parse(target)
    except ValueError as error:
        raise AutoToolError(f"--target: {error}.") from None
    if simulate is not None:
        response.simulate(target, requests, streams, out, simulate)
    else:
        response.measure(target, requests, streams, out, serve_options or [])


@app.command(context_settings={"ignore_unknown_options": True})
def overload(
    seconds: LoadSeconds = 60,
    streams: FullStreams = 32,
    reasoning_bias: Annotated[float, typer.Option(help="Log-odds that the tasks in auto ask for, to think nearly always.")] = 4,
    max_load_bias: Annotated[float, typer.Option(min=0.1, help="The option of one of the servers.")] = 12,
    slo_first_token: Annotated[float, typer.Option(min=0.1, help="The option of the same server.")] = 10,
    max_queue_seconds: Annotated[float, typer.Option(min=0.1, help="The option of both servers.")] = 10,
    out: JsonOut = None,
    serve_options: ServeOptions = None,
) -> None:
    """Refusals, first tokens and accuracy where 1.5 times as much comes as the engine holds in long.

    Two servers are loaded one after the other with hard tasks of `graded`, without --max-load-bias and with it. First what the
    engine holds in long is measured, then tasks in auto come at random times at 1.5 times that rate. Takes three times
    --seconds, and the starts.

      autotool bench perf overload --model training/checkpoints/graded-tiny --engine transformers
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.overload import OverloadOptions, measure  # noqa: PLC0415 needs the extras

    limits = (reasoning_bias, max_load_bias, slo_first_token, max_queue_seconds)
    measure(OverloadOptions(seconds, streams, *limits, out, serve_options or ()))


@app.command("short-first", context_settings={"ignore_unknown_options": True})
def short_first(
    seconds: LoadSeconds = 40,
    streams: FullStreams = 32,
    rate: Annotated[float, typer.Option(min=0.01, help="Calls a second, in parts of what the engine holds in long.")] = 0.5,
    short_first_seconds: Annotated[float, typer.Option(min=0.1, help="The option of one of the servers.")] = 30,
    max_long_share: Annotated[float, typer.Option(min=0.01, max=1, help="The option of one of the servers.")] = 0.5,
    out: JsonOut = None,
    serve_options: ServeOptions = None,
) -> None:
    """First tokens of short calls beside long thoughts, relative to the same calls alone.

    Two servers are loaded one after the other with hard tasks of `graded`, without --short-first-seconds and
    --max-long-share and with them. First what the engine holds in long is measured, then calls in short come at random times,
    alone, and beside thoughts that fill the engine and its queue. Takes five times --seconds, and the starts.

      autotool bench perf short-first --model training/checkpoints/graded-tiny --engine vllm
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.short_first import ShortFirstOptions, measure  # noqa: PLC0415 needs the extras

    options = ShortFirstOptions(seconds, streams, rate, short_first_seconds, max_long_share, out, serve_options or ())
    measure(options)


@app.command("quote", context_settings={"ignore_unknown_options": True})
def quote(
    out: Annotated[Path, typer.Option(help="Folder of the quotes and answers.")],
    requests: Annotated[int, typer.Option(min=1, help="Requests that are quoted, then sent.")] = 300,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests before them, which are not quoted.")] = 100,
    streams: Streams = 4,
    serve_options: ServeOptions = None,
) -> None:
    """Quotes of `graded` requests against what then happened.

    A server is started and asked in auto, at temperature 1. The table has the share of answers whose tokens, and whose seconds,
    were between the quantiles 5 and 95 of their quotes, which are to be nine of ten; and the share of modes as quoted.

      autotool bench perf quote --out runs/quotes --model training/checkpoints/graded-tiny --engine transformers
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf import quotes  # noqa: PLC0415 needs the extras

    quotes.measure(requests, warm_up, streams, out, serve_options or [])


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


@app.command("grpo-overhead")
def grpo_overhead(
    model: Annotated[Path, typer.Option(help="Folder of a checkpoint that can do `auto`.")],
    rounds: Rounds = 9,
    group: Annotated[int, typer.Option(min=2, help="Rollouts per prompt.")] = 8,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens per rollout.")] = 64,
    items: Annotated[int, typer.Option(min=1, help="Prompts per step.")] = 2,
) -> None:
    """Time of this project's GRPO training step, relative to TRL's own GRPOTrainer on the same model and data.

    Each round times the second step of both trainers in turn. The second line, stock / stock, is the noise. Without a GPU the
    times are CPU times of the process. Needs the `train` extra. Takes three training runs of two steps per round.

      autotool bench perf grpo-overhead --model training/checkpoints/graded-tiny --rounds 11 --items 4
    """
    require(MEASUREMENT, "train", "bench")
    from autotool_bench.perf.grpo_overhead import GrpoOptions, measure  # noqa: PLC0415 needs the extras

    measure(GrpoOptions(str(model), rounds, group, tokens, items))
