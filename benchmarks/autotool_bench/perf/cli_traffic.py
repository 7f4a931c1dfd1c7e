"""Measurements of what the server makes of its traffic: targets of `auto`, overload, the order of the queue, and quotes."""

from pathlib import Path
from typing import Annotated

import typer

from autotool_bench.perf.cli_options import (
    MEASUREMENT,
    PASSES_OPTIONS_ON,
    FullStreams,
    JsonOut,
    LoadSeconds,
    ServerOptions,
    ServersOptions,
    Streams,
)
from autotool_core.errors import AutoToolError
from autotool_core.extras import require
from autotool_core.target import Target

app = typer.Typer()


@app.command("target", context_settings=PASSES_OPTIONS_ON)
def target_response(
    target: Annotated[str, typer.Option(help="The target: thinking-rate=0.3 or tokens=200.")],
    out: Annotated[Path, typer.Option(help="Folder of the plot and the answers.")],
    simulate: Annotated[
        Path | None,
        typer.Option(help="Folder of a run of `graded` in auto, long and short whose decisions are replayed; no server runs."),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests before the change of the traffic, and after it.")] = 400,
    streams: Streams = 8,
    serve_options: ServerOptions = None,
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


@app.command(context_settings=PASSES_OPTIONS_ON)
def overload(
    seconds: LoadSeconds = 60,
    streams: FullStreams = 32,
    reasoning_bias: Annotated[float, typer.Option(help="Log-odds that the tasks in auto ask for, to think nearly always.")] = 4,
    max_load_bias: Annotated[float, typer.Option(min=0.1, help="The option of one of the servers.")] = 12,
    slo_first_token: Annotated[float, typer.Option(min=0.1, help="The option of the same server.")] = 10,
    max_queue_seconds: Annotated[float, typer.Option(min=0.1, help="The option of both servers.")] = 10,
    out: JsonOut = None,
    serve_options: ServersOptions = None,
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


@app.command("short-first", context_settings=PASSES_OPTIONS_ON)
def short_first(
    seconds: LoadSeconds = 40,
    streams: FullStreams = 32,
    rate: Annotated[float, typer.Option(min=0.01, help="Calls a second, in parts of what the engine holds in long.")] = 0.5,
    short_first_seconds: Annotated[float, typer.Option(min=0.1, help="The option of one of the servers.")] = 30,
    max_long_share: Annotated[float, typer.Option(min=0.01, max=1, help="The option of one of the servers.")] = 0.5,
    out: JsonOut = None,
    serve_options: ServersOptions = None,
) -> None:
    """First tokens of short calls beside long thoughts, relative to the same calls alone.

    Two servers are loaded one after the other with hard tasks of `graded`, without --short-first-seconds and
    --max-long-share and with them. First what the engine holds in long is measured, then calls in short come at random times,
    alone, and beside thoughts that fill the engine and its queue. Takes some six times --seconds, and the starts.

      autotool bench perf short-first --model training/checkpoints/graded-tiny --engine vllm
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf.short_first import ShortFirstOptions, measure  # noqa: PLC0415 needs the extras

    options = ShortFirstOptions(seconds, streams, rate, short_first_seconds, max_long_share, out, serve_options or ())
    measure(options)


@app.command("quote", context_settings=PASSES_OPTIONS_ON)
def quote(
    out: Annotated[Path, typer.Option(help="Folder of the quotes and answers.")],
    requests: Annotated[int, typer.Option(min=1, help="Requests that are quoted, then sent.")] = 300,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests before them, which are not quoted.")] = 100,
    streams: Streams = 4,
    serve_options: ServersOptions = None,
) -> None:
    """Quotes of `graded` requests against what then happened.

    A server is started and asked in auto, at temperature 1. The table has the share of answers whose tokens, and whose seconds,
    were between the quantiles 5 and 95 of their quotes, which are to be nine of ten; and the share of modes as quoted.

      autotool bench perf quote --out runs/quotes --model training/checkpoints/graded-tiny --engine transformers
    """
    require(MEASUREMENT, "server", "bench")
    from autotool_bench.perf import quotes  # noqa: PLC0415 needs the extras

    quotes.measure(requests, warm_up, streams, out, serve_options or [])
