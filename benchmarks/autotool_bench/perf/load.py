"""This server against stock vLLM under load: same model, flags and prompts, by vLLM's own load generator, interleaved.

    python -m autotool_bench.perf.load [--model DIR] [--rounds 5] [--streams 32] [--modes long,short] [--out load.json]

Both servers are up at once and are loaded in turn, since machines are shared and noisy: only the ratios within a round
mean anything, and their medians are what is reported. Above 1 is more than stock vLLM: good for throughput, bad for
times. Stock vLLM switches modes by `chat_template_kwargs`, as the checkpoint's chat template allows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from autotool_bench.perf import servers
from autotool_bench.perf.servers import Server
from autotool_core.errors import AutoToolError
from autotool_server import default_model

# The load generator by its Python API: the `vllm` command of the CPU wheel does not start.
GENERATOR = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
NAME = "loaded"
ENGINE_FLAGS = {"max_model_len": "2048", "max_num_seqs": "64"}
CPU_FLAGS = {"dtype": "float32", "enforce_eager": "true", "block_size": "32"}
METRICS = {
    "output tokens/s": "output_throughput",
    "median TTFT": "median_ttft_ms",
    "p99 TTFT": "p99_ttft_ms",
    "median inter-token latency": "median_itl_ms",
    "p99 inter-token latency": "p99_itl_ms",
}


def extra_body(server: Server, mode: str) -> dict[str, Any]:
    """Request fields that ask for the mode."""
    return {"mode": mode} if server.name == "ours" else {"chat_template_kwargs": {"enable_thinking": mode == "long"}}


def pair(model: str, *, cpu: bool) -> list[Server]:
    """Both servers, with the same flags for the same engine."""
    flags = ENGINE_FLAGS | (CPU_FLAGS if cpu else {})
    shared = ["--model", model, "--served-model-name", NAME]
    return [
        servers.autotool("--engine", "vllm", *shared, *servers.engine_options(flags, ours=True)),
        servers.stock_vllm(*shared, *servers.engine_options(flags, ours=False)),
    ]


def load(server: Server, mode: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """One run of the load generator; its own figures."""
    # The generator asks for `ignore_eos`, which is vLLM's own; a bias does the same on both.
    body = {
        **extra_body(server, mode),
        "ignore_eos": False if server.name == "stock" else None,
        "temperature": 0,
        "logit_bias": {str(token): -100 for token in options.eos},
    }
    result = folder / "result.json"
    arguments = {
        "--backend": "openai-chat",
        "--base-url": f"http://127.0.0.1:{server.port}",
        "--endpoint": "/v1/chat/completions",
        "--model": options.model,
        "--served-model-name": NAME,
        "--dataset-name": "random",
        "--random-input-len": str(options.input_tokens),
        "--random-output-len": str(options.output_tokens),
        "--num-prompts": str(options.requests),
        "--max-concurrency": str(options.streams),
        "--percentile-metrics": "ttft,itl",
        "--extra-body": json.dumps(body),
        "--result-dir": str(folder),
        "--result-filename": result.name,
    }
    flat = [part for pair in arguments.items() for part in pair]
    command = [sys.executable, "-c", GENERATOR, *flat, "--save-result", "--disable-tqdm"]
    done = subprocess.run(command, capture_output=True, text=True, env=servers.environment(), check=False)  # noqa: S603
    if done.returncode:
        raise AutoToolError(f"The load generator failed against {server.name}: {done.stderr.strip().splitlines()[-1]}")
    figures = json.loads(result.read_text())
    if figures["completed"] != options.requests:
        raise AutoToolError(f"{server.name} answered {figures['completed']} of {options.requests} requests.")
    return {name: figures[key] for name, key in METRICS.items()}


def report(rounds: list[dict[str, dict[str, dict[str, float]]]]) -> dict[str, dict[str, list[float]]]:
    """Ratios ours/stock, by mode and metric, one per round."""
    modes = rounds[0]
    return {
        mode: {metric: [one[mode]["ours"][metric] / one[mode]["stock"][metric] for one in rounds] for metric in METRICS}
        for mode in modes
    }


def main() -> None:
    """Start both servers, load them in turn, print the ratios."""
    options = _options()
    both, folder = pair(options.model, cpu=options.cpu), Path(tempfile.mkdtemp())
    rounds: list[dict[str, dict[str, dict[str, float]]]] = []
    with ExitStack() as stack:
        for server in both:
            stack.enter_context(servers.started(server, folder / f"{server.name}.log"))
        for at in track(range(options.rounds), description="rounds"):
            order = both if at % 2 else both[::-1]
            rounds.append(
                {mode: {server.name: load(server, mode, options, folder) for server in order} for mode in options.modes}
            )
    ratios = report(rounds)
    if options.out:
        options.out.write_text(json.dumps({"command": sys.argv, "rounds": rounds, "ratios": ratios}, indent=1))
    _print(ratios, rounds)


def _print(ratios: dict[str, dict[str, list[float]]], rounds: list[dict[str, dict[str, dict[str, float]]]]) -> None:
    table = Table(
        "mode", "metric", "ours / stock vLLM", "range", "ours (median)", title=f"Ratios, median of {len(rounds)} rounds"
    )
    for mode, metrics in ratios.items():
        for metric, values in metrics.items():
            ours = statistics.median(one[mode]["ours"][metric] for one in rounds)
            spread = f"{min(values):.2f} to {max(values):.2f}"
            table.add_row(mode, metric, f"{statistics.median(values):.3f}", spread, f"{ours:.1f}")
    Console().print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", help="folder of a checkpoint whose template honours enable_thinking; default: the default model"
    )
    parser.add_argument("--modes", type=lambda text: text.split(","), default=["long", "short"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--requests", type=int, default=64, help="requests of a run")
    parser.add_argument("--input-tokens", type=int, default=64)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--out", type=Path, help="where to write every figure as JSON")
    options = parser.parse_args()
    options.model = options.model or str(default_model.ensure())
    options.cpu = is_cpu()
    # Both servers decode to the limit, so that both decode the same number of tokens.
    eos = json.loads((Path(options.model) / "generation_config.json").read_text())["eos_token_id"]
    options.eos = eos if isinstance(eos, list) else [eos]
    return options


def is_cpu() -> bool:
    """Whether vLLM runs on a CPU here."""
    from vllm.platforms import current_platform  # noqa: PLC0415 slow

    return current_platform.is_cpu()


if __name__ == "__main__":
    main()
