"""Run one suite through several checkpoints, each served by this server in turn, and report all of them.

The command is `autotool bench perf checkpoints`. A checkpoint's rows go to the folder of its name.
"""

from collections.abc import Sequence
from pathlib import Path

from autotool_bench.config import RunConfig
from autotool_bench.perf import servers
from autotool_bench.perf.side_by_side import execute_on
from autotool_bench.report import write_report
from autotool_core.errors import AutoToolError


def measure(config: RunConfig, folders: Sequence[Path], engine: str) -> None:
    """Run the suite through every checkpoint, then report. Raises AutoToolError if two checkpoints have the same name."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise AutoToolError("Two checkpoints have the same name: their rows would go to the same folder. Rename one.")
    config.out.mkdir(parents=True, exist_ok=True)
    options = ["--engine", engine, *(_vllm_options(config.concurrency) if engine == "vllm" else [])]
    for name, folder in zip(names, folders, strict=True):
        model = ["--model", str(folder), "--served-model-name", name]
        execute_on(servers.autotool(*options, *model, name=name), config)
    write_report([config.out / name for name in names], config.out)


def _vllm_options(concurrency: int) -> list[str]:
    flags = {"max_num_seqs": str(concurrency)} | (servers.CPU_FLAGS if servers.is_cpu() else {})
    return servers.engine_options(flags, ours=True)
