"""Measurements of speed and memory: the server under load, its own cost, its memory, an engine alone, and the start."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from autotool_bench.perf.cli_options import (
    MEASUREMENT,
    PASSES_OPTIONS_ON,
    CheckpointOption,
    InputTokens,
    JsonOut,
    Rounds,
    ServerOptions,
    Streams,
)
from autotool_core.extras import require, require_vllm
from autotool_core.modes import Mode

app = typer.Typer()


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
    input_tokens: InputTokens = 64,
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


@app.command(context_settings=PASSES_OPTIONS_ON)
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


@app.command(context_settings=PASSES_OPTIONS_ON)
def soak(
    engine: Annotated[
        Literal["transformers", "vllm", "stock-vllm"],
        typer.Option(help="Engine of the server, or vLLM's own server with the same requests, to compare with."),
    ],
    requests: Annotated[int, typer.Option(min=10, help="Requests in total.")] = 2000,
    streams: Streams = 16,
    serve_options: ServerOptions = None,
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
    input_tokens: InputTokens = 64,
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


@app.command(context_settings=PASSES_OPTIONS_ON)
def start(
    engine: Annotated[
        Literal["transformers", "vllm", "remote"],
        typer.Option(help="Engine of the server. The remote one gets a stock vLLM server that is started before it."),
    ] = "transformers",
    rounds: Annotated[int, typer.Option(min=1, help="Starts; the reported figures are medians over them.")] = 3,
    out: JsonOut = None,
    serve_options: ServerOptions = None,
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
