"""This server against stock vLLM under load: same model, flags and prompts, loaded by vLLM's own load generator.

The command is `autotool bench perf load`. Both servers run at the same time and are loaded in turn, because machines are shared
and noisy: only the ratios within a round count, and their medians are reported. A ratio above 1 is more than stock vLLM: good
for throughput, bad for times. Stock vLLM switches modes by `chat_template_kwargs`, which the checkpoint's chat template reads;
it has no `auto`, and is loaded in short there. What a decision costs is the ratio of this server's auto to its forced short.
The first chunk of an answer counts as its first token: in auto it is the one that follows the decision token.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from rich.progress import track
from rich.table import Table

from autotool_bench.perf import load_generator, servers
from autotool_bench.perf.load_generator import LoadGenerator
from autotool_bench.perf.servers import Server
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.engines.checkpoint import configured_eos, eos_token_ids, load_tokenizer

NAME = "loaded"
ENGINE_FLAGS = {"max_model_len": "2048", "max_num_seqs": "64"}
METRICS = {
    "output tokens/s": "output_throughput",
    "median TTFT": "median_ttft_ms",
    "p99 TTFT": "p99_ttft_ms",
    "median inter-token latency": "median_itl_ms",
    "p99 inter-token latency": "p99_itl_ms",
    "CPU ms a token": "cpu_ms_per_token",
}
"""What is reported, by the names of the load generator's figures. The CPU time is that of all the server's processes: it is
the cost of an answer on a machine whose cores are all busy, and varies less than wall time where others use them too."""


Measured = dict[str, dict[str, dict[str, float]]]
"""The figures of one round: mode → server → metric → value."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What is measured, and under which load."""

    model: Path | None
    """Folder of a checkpoint; None: the default model."""
    modes: Sequence[str]
    rounds: int
    streams: int
    """Requests in progress at the same time."""
    requests: int
    """Requests per run of the load generator."""
    input_tokens: int
    output_tokens: int
    out: Path | None
    """JSON file for every round's figures."""


def mode_fields(server: Server, mode: str) -> dict[str, Any]:
    """Return the request fields that set the mode on either server."""
    return {"mode": mode} if server.name == "ours" else {"chat_template_kwargs": {"enable_thinking": mode == "long"}}


def pair(model: str, *, cpu: bool, ours: Sequence[str] = (), stock: Sequence[str] = ()) -> tuple[Server, Server]:
    """Return this server and stock vLLM, with the same engine flags and with further options of their own."""
    flags = ENGINE_FLAGS | (servers.CPU_FLAGS if cpu else {})
    shared = ["--model", model, "--served-model-name", NAME]
    # Stock vLLM leaves no part of a limit to the answer; where reasoning is closed, the turn takes another engine step.
    own = ["--engine", "vllm", "--answer-reserve", "0"]
    return (
        servers.autotool(*own, *shared, *servers.engine_options(flags, ours=True), *ours),
        servers.stock_vllm(*shared, *servers.engine_options(flags, ours=False), *stock),
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs, and its process."""

    server: Server
    process: psutil.Process


def run_load_generator(
    generator: LoadGenerator, running: Running, mode: str, options: LoadOptions, seed: int
) -> dict[str, float]:
    """Load a server once; return its figures by the names of METRICS. Raises AutoToolError if a request fails.

    `seed`: of the prompts. Prompts that a server has in its cache would be compared by where its blocks happen to end.
    """
    server, model = running.server, options.model
    eos = eos_token_ids(configured_eos(str(model)), load_tokenizer(str(model)))
    # The generator sets `ignore_eos`, which is vLLM's own field; a bias against EOS does the same on both servers.
    body = {
        **mode_fields(server, mode),
        "ignore_eos": False if server.name == "stock" else None,
        "temperature": 0,
        "logit_bias": {str(token_id): -100 for token_id in eos},
    }
    arguments = {
        "--backend": "openai-chat",
        "--base-url": f"http://127.0.0.1:{server.port}",
        "--endpoint": "/v1/chat/completions",
        "--model": str(model),
        "--served-model-name": NAME,
        "--dataset-name": "random",
        "--seed": str(seed),
        "--random-input-len": str(options.input_tokens),
        "--random-output-len": str(options.output_tokens),
        "--num-prompts": str(options.requests),
        "--max-concurrency": str(options.streams),
        "--percentile-metrics": "ttft,itl",
        "--extra-body": json.dumps(body),
    }
    before = servers.cpu_seconds(running.process)
    figures = generator.run([part for pair in arguments.items() for part in pair], server.name)
    seconds = servers.cpu_seconds(running.process) - before
    if figures["completed"] != options.requests:
        raise AutoToolError(f"{server.name} answered {figures['completed']} of {options.requests} requests.")
    figures["cpu_ms_per_token"] = 1e3 * seconds / (options.requests * options.output_tokens)
    return {name: figures[key] for name, key in METRICS.items()}


def ratios_of(rounds: Sequence[Measured]) -> dict[str, dict[str, list[float]]]:
    """Return the ratios ours / stock by mode and metric, one per round."""
    return {mode: {metric: [_ratio(measured[mode], metric) for measured in rounds] for metric in METRICS} for mode in rounds[0]}


def _ratio(figures: dict[str, dict[str, float]], metric: str) -> float:
    return figures["ours"][metric] / figures["stock"][metric]


def decision_ratios(rounds: Sequence[Measured]) -> dict[str, list[float]]:
    """Return the ratios of this server's auto to its forced short by metric, one per round; none without both modes."""
    if not {"auto", "short"} <= rounds[0].keys():
        return {}
    return {metric: [each["auto"]["ours"][metric] / each["short"]["ours"][metric] for each in rounds] for metric in METRICS}


def measure(options: LoadOptions) -> None:
    """Start both servers, load them in turn, print the ratios."""
    options = replace(options, model=options.model or default_model.ensure())
    folder, rounds = Path(tempfile.mkdtemp()), list[Measured]()
    with ExitStack() as stack:
        generator = stack.enter_context(load_generator.started())
        both = [
            Running(server, psutil.Process(stack.enter_context(servers.started(server, folder / f"{server.name}.log")).pid))
            for server in pair(str(options.model), cpu=servers.is_cpu())
        ]
        for number in track(range(options.rounds), description="rounds"):
            order = both if number % 2 else both[::-1]
            seeds = range(number * len(options.modes), (number + 1) * len(options.modes))
            rounds.append(
                {
                    mode: {each.server.name: run_load_generator(generator, each, mode, options, seed) for each in order}
                    for mode, seed in zip(options.modes, seeds, strict=True)
                }
            )
    ratios, decisions = ratios_of(rounds), decision_ratios(rounds)
    if options.out:
        written = {"command": sys.argv, "rounds": rounds, "ratios": ratios, "auto / short": decisions}
        options.out.write_text(json.dumps(written, indent=1))
    _print(ratios, rounds)
    if decisions:
        _print_decisions(decisions)


def _print(ratios: dict[str, dict[str, list[float]]], rounds: Sequence[Measured]) -> None:
    table = Table(
        "mode", "metric", "ours / stock vLLM", "range", "ours (median)", title=f"Ratios, median of {len(rounds)} rounds"
    )
    for mode, metrics in ratios.items():
        for metric, values in metrics.items():
            ours = statistics.median(measured[mode]["ours"][metric] for measured in rounds)
            table.add_row(mode, metric, f"{statistics.median(values):.3f}", _spread(values), f"{ours:.1f}")
    plain_console().print(table)


def _print_decisions(ratios: dict[str, list[float]]) -> None:
    table = Table("metric", "auto / short", "range", title="What a decision costs: this server's auto and its forced short")
    for metric, values in ratios.items():
        table.add_row(metric, f"{statistics.median(values):.3f}", _spread(values))
    plain_console().print(table)


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"
