"""This server against stock vLLM under load: same model, flags and prompts, loaded by vLLM's own load generator.

The command is `autotool bench perf load`. Both servers run at the same time and are loaded in turn, because machines are shared
and noisy: only the ratios within a round count, and their medians are reported. A ratio above 1 is more than stock vLLM: good
for throughput, bad for times. Stock vLLM switches modes by `chat_template_kwargs`, which the checkpoint's chat template reads;
it has no `auto`, and is loaded in short there. What a decision costs is the ratio of this server's auto to its forced short.
The first chunk of an answer counts as its first token: in auto it is the one that follows the decision token.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import track
from rich.table import Table

from autotool_bench.perf import servers
from autotool_bench.perf.servers import Server
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.engines.checkpoint import configured_eos, eos_token_ids, load_tokenizer

# The load generator is started by its Python API: the `vllm` command of the CPU wheel does not start.
GENERATOR = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
NAME = "loaded"
ENGINE_FLAGS = {"max_model_len": "2048", "max_num_seqs": "64"}
METRICS = {
    "output tokens/s": "output_throughput",
    "median TTFT": "median_ttft_ms",
    "p99 TTFT": "p99_ttft_ms",
    "median inter-token latency": "median_itl_ms",
    "p99 inter-token latency": "p99_itl_ms",
}


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


def run_load_generator(server: Server, mode: str, options: LoadOptions, model: Path, seed: int) -> dict[str, float]:
    """Run the load generator once; return its figures by the names of METRICS. Raises AutoToolError if a request fails.

    `seed`: of the prompts. Prompts that a server has in its cache would be compared by where its blocks happen to end.
    """
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
    figures = _generate([part for pair in arguments.items() for part in pair], server.name)
    if figures["completed"] != options.requests:
        raise AutoToolError(f"{server.name} answered {figures['completed']} of {options.requests} requests.")
    return {name: figures[key] for name, key in METRICS.items()}


def _generate(arguments: Sequence[str], name: str) -> dict[str, Any]:
    """Run the load generator with these arguments on the server of this name; return its result."""
    with tempfile.TemporaryDirectory() as folder:
        saved = ["--save-result", "--result-dir", folder, "--result-filename", "result.json", "--disable-tqdm"]
        command = [sys.executable, "-c", GENERATOR, *arguments, *saved]
        done = subprocess.run(command, capture_output=True, text=True, env=servers.environment(), check=False)  # noqa: S603
        if done.returncode:
            raise AutoToolError(f"The load generator failed on {name}: {done.stderr.strip().splitlines()[-1]}")
        return json.loads((Path(folder) / "result.json").read_text())


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
    model = options.model or default_model.ensure()
    both, folder = pair(str(model), cpu=servers.is_cpu()), Path(tempfile.mkdtemp())
    rounds: list[Measured] = []
    with ExitStack() as stack:
        for server in both:
            stack.enter_context(servers.started(server, folder / f"{server.name}.log"))
        for number in track(range(options.rounds), description="rounds"):
            order = both if number % 2 else both[::-1]
            seeds = range(number * len(options.modes), (number + 1) * len(options.modes))
            rounds.append(
                {
                    mode: {server.name: run_load_generator(server, mode, options, model, seed) for server in order}
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
