"""This server against stock vLLM under load: same model, flags and prompts, by vLLM's own load generator, interleaved.

    python -m autotool_bench.load [--model DIR] [--rounds 5] [--streams 32] [--modes long,short] [--out load.json]

Both servers are up at once and are loaded in turn, since machines are shared and noisy: only the ratios within a round
mean anything, and their medians are what is reported. Above 1 is more than stock vLLM: good for throughput, bad for
times. Stock vLLM switches modes by `chat_template_kwargs`, as the checkpoint's chat template allows.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_server.listener import listen

# The load generator by its Python API: the `vllm` command of the CPU wheel does not start.
GENERATOR = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
AUTOTOOL = "from autotool_core.cli import main; main()"
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
START_SECONDS = 300


@dataclass(frozen=True)
class Server:
    """A server to be loaded: how it is started, and what switches its mode."""

    name: str
    command: list[str]
    port: int

    def extra_body(self, mode: str) -> dict[str, Any]:
        """Request fields that ask for the mode."""
        return {"mode": mode} if self.name == "ours" else {"chat_template_kwargs": {"enable_thinking": mode == "long"}}


def servers(model: str, *, cpu: bool) -> list[Server]:
    """Both servers, with the same flags for the same engine."""
    flags = ENGINE_FLAGS | (CPU_FLAGS if cpu else {})
    ours, stock = _free_port(), _free_port()
    ours_flags = [part for name, value in flags.items() for part in ("--engine-arg", f"{name}={value}")]
    stock_flags = [
        part
        for name, value in flags.items()
        for part in ([f"--{name.replace('_', '-')}"] if value == "true" else [f"--{name.replace('_', '-')}", value])
    ]
    autotool = [sys.executable, "-c", AUTOTOOL, "serve", "--engine", "vllm"]
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    shared = ["--model", model, "--served-model-name", NAME, "--port"]
    return [
        Server("ours", [*autotool, *shared, str(ours), *ours_flags], ours),
        Server("stock", [*vllm, *shared, str(stock), *stock_flags], stock),
    ]


@contextmanager
def started(server: Server, log: Path) -> Iterator[None]:
    """Run a server until the block ends; its children end with it."""
    with log.open("wb") as out:
        process = subprocess.Popen(server.command, stdout=out, stderr=out, env=_environment(), start_new_session=True)  # noqa: S603
    try:
        _await_ready(server, process, log)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def load(server: Server, mode: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """One run of the load generator; its own figures."""
    # The generator asks for `ignore_eos`, which is vLLM's own; a bias does the same on both.
    body = {
        **server.extra_body(mode),
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
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)  # noqa: S603
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
    both, folder = servers(options.model, cpu=options.cpu), Path(tempfile.mkdtemp())
    rounds: list[dict[str, dict[str, dict[str, float]]]] = []
    with ExitStack() as stack:
        for server in both:
            stack.enter_context(started(server, folder / f"{server.name}.log"))
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
    options.cpu = _is_cpu()
    # Both servers decode to the limit, so that both decode the same number of tokens.
    eos = json.loads((Path(options.model) / "generation_config.json").read_text())["eos_token_id"]
    options.eos = eos if isinstance(eos, list) else [eos]
    return options


def _is_cpu() -> bool:
    from vllm.platforms import current_platform  # noqa: PLC0415 slow

    return current_platform.is_cpu()


def _environment() -> dict[str, str]:
    return {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", **os.environ}


def _free_port() -> int:
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    listener.close()
    return port


def _await_ready(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AutoToolError(f"{server.name} did not start: see {log}")
        try:
            if httpx.get(f"http://127.0.0.1:{server.port}/v1/models").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise AutoToolError(f"{server.name} did not start in {START_SECONDS} seconds: see {log}")


if __name__ == "__main__":
    main()
