"""One suite through several checkpoints, each served by this server for as long, unattended, and one report of all.

    python -m autotool_bench.perf.checkpoints tiny/rl-0 tiny/grpo-0 --suite graded --limit 100 --max-tokens 256 --out tiny/eval

The rows of a checkpoint go to the folder of its name. A run that was stopped goes on with what is missing.
"""

import argparse
import sys
from pathlib import Path

from autotool_bench import cli
from autotool_bench.perf import servers
from autotool_bench.perf.load import CPU_FLAGS, is_cpu
from autotool_bench.perf.side_by_side import measure, suite_options
from autotool_core.errors import AutoToolError
from autotool_core.modes import ModeSwitch


def main() -> None:
    """Measure each, then report."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    engine = _vllm_options(options) if options.engine == "vllm" else []
    for folder in options.checkpoints:
        name = folder.resolve().name
        model = ["--model", str(folder), "--served-model-name", name]
        server = servers.autotool("--engine", options.engine, *model, *engine, name=name)
        measure(server, options, options.modes, ModeSwitch.MODE, None)
    cli.report([options.out / folder.resolve().name for folder in options.checkpoints], options.out)


def _vllm_options(options: argparse.Namespace) -> list[str]:
    flags = {"max_num_seqs": str(options.concurrency)} | (CPU_FLAGS if is_cpu() else {})
    return servers.engine_options(flags, ours=True)


def _options() -> argparse.Namespace:
    parser = suite_options(__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--modes", default="auto,long,short")
    parser.add_argument("--engine", choices=["vllm", "transformers"], default="vllm")
    options = parser.parse_args()
    names = [folder.resolve().name for folder in options.checkpoints]
    if len(set(names)) < len(names):
        raise AutoToolError("Two checkpoints have one name: their rows would go to the same folder.")
    return options


if __name__ == "__main__":
    try:
        main()
    except AutoToolError as error:
        sys.exit(str(error))
