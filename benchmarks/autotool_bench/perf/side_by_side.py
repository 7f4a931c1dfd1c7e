"""One suite through this server in its three modes and through stock vLLM, unattended, and one report of both.

    python -m autotool_bench.perf.side_by_side --suite bfcl --limit 50 --out runs/bfcl [--model DIR] [--directory DATA]

The servers are up one after the other, with the same engine flags. Stock vLLM is told the mode by `enable_thinking`, and reads
the answers by its own parsers; it has no budget for reasoning, so `--max-tokens` alone ends it. A run that was stopped goes on.
"""

import argparse
import sys
from pathlib import Path

from autotool_bench import cli, suites
from autotool_bench.perf import servers
from autotool_bench.perf.load import CPU_FLAGS, is_cpu
from autotool_core.errors import AutoToolError
from autotool_core.modes import ModeSwitch
from autotool_server import default_model

FLAGS = {"max_model_len": "8192", "max_num_seqs": "32"}
TOLD = ("--enable-prompt-tokens-details",)


def main() -> None:
    """Run both, then report."""
    options = _options()
    # What is wrong with them is said before an engine is started.
    suites.load(options.suite, options.categories and options.categories.split(","), options.directory).close()
    flags = FLAGS | (CPU_FLAGS if is_cpu() else {})
    # By its own name, so that a run of another model in the same folder is refused.
    shared = ["--model", options.model, "--served-model-name", Path(options.model).resolve().name]
    ours = servers.autotool("--engine", "vllm", *shared, *servers.engine_options(flags, ours=True))
    stock = servers.stock_vllm(*shared, *servers.PARSERS, *TOLD, *servers.engine_options(flags, ours=False))
    options.out.mkdir(parents=True, exist_ok=True)
    measure(ours, options, "auto,long,short", ModeSwitch.MODE, options.max_reasoning_tokens)
    measure(stock, options, "long,short", ModeSwitch.ENABLE_THINKING, None)
    cli.report([options.out / ours.name, options.out / stock.name], options.out)


def measure(server: servers.Server, options: argparse.Namespace, modes: str, switch: ModeSwitch, reasoning: int | None) -> None:
    """Run the suite of `suite_options` through a server that is up for as long; its rows go to the folder of its name."""
    with servers.started(server, options.out / f"{server.name}.log"):
        cli.run_suite(
            options.suite,
            options.out / server.name,
            server.url,
            modes=modes,
            switch=switch,
            categories=options.categories,
            directory=options.directory,
            limit=options.limit,
            concurrency=options.concurrency,
            max_tokens=options.max_tokens,
            max_reasoning_tokens=reasoning,
            parameters=options.parameters,
        )


def _options() -> argparse.Namespace:
    parser = suite_options(__doc__)
    parser.add_argument("--model", help="folder of a checkpoint; default: the default model")
    parser.add_argument("--max-reasoning-tokens", type=int, default=32, help="of this server, beside --max-tokens")
    options = parser.parse_args()
    options.model = options.model or str(default_model.ensure())
    return options


def suite_options(description: str | None) -> argparse.ArgumentParser:
    """Options of a measurement, whatever it measures."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--categories")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--parameters", type=float, help="of the model, for ACU")
    return parser


if __name__ == "__main__":
    try:
        main()
    except AutoToolError as error:
        sys.exit(str(error))
