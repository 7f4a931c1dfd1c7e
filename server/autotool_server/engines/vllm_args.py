"""Build vLLM's engine arguments: those of the user, parsed by vLLM's parser, and a few other defaults.

This module imports vLLM, so `engines.vllm` imports it only when an engine starts.
"""

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.utils.argparse_utils import FlexibleArgumentParser

from autotool_core.errors import AutoToolError

Arguments = Mapping[str, str | int | float | bool]

CPU_CACHE_BYTES = 2 * 2**30

# Structural tags are defined by xgrammar; vLLM's `auto` passes tags that xgrammar rejects to other backends.
DEFAULTS: Arguments = {"structured_outputs_config": '{"backend": "xgrammar"}'}

SCHEDULERS = {
    False: "autotool_server.engines.vllm_scheduler.SyncDecidingScheduler",
    True: "autotool_server.engines.vllm_scheduler.AsyncDecidingScheduler",
}
"""Schedulers that make decisions, by whether scheduling is asynchronous."""

OWN_SETTINGS = ("generation_config", "override_generation_config")
"""Arguments of vLLM that have no effect here, since the server fills in what requests leave out."""


class _Parser(FlexibleArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AutoToolError(f"An engine argument is invalid for vLLM: {message}.")


def parse(model: str, given: Arguments) -> AsyncEngineArgs:
    """Parse the arguments as `vllm serve` does. Raises AutoToolError, which names an unknown or invalid argument."""
    parser = AsyncEngineArgs.add_cli_args(_Parser())
    _check_names(given, sorted({action.dest for action in parser._actions} - {"help", "model"}))
    defaults = cpu_defaults() if current_platform.is_cpu() else {}
    progress: Arguments = {} if sys.stderr.isatty() else {"use_tqdm_on_load": False}
    chosen = {**DEFAULTS, **progress, **defaults, **given, "model": model}
    options = parser.parse_args([_option(name, value) for name, value in chosen.items()])
    return AsyncEngineArgs.from_cli_args(options)  # pyright: ignore[reportArgumentType] the parser's annotation is wrong


def _check_names(given: Arguments, known: Sequence[str]) -> None:
    for name in given:
        if name in OWN_SETTINGS:
            raise AutoToolError(f"{name} is a setting of this server, for every engine: give --{name.replace('_', '-')}.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise AutoToolError(f"{name} is not an engine argument of vLLM{hint}")


def _option(name: str, value: str | float | bool) -> str:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option}={value}"


def add_scheduler(config: VllmConfig) -> None:
    """Let the engine make decisions in its scheduler.

    It does not beside a scheduler of the user's own, nor where another process has a part in the next token: one that drafts
    tokens, or one that holds the cache.
    """
    scheduler = config.scheduler_config
    has_partner = config.speculative_config or config.kv_transfer_config or config.parallel_config.pipeline_parallel_size > 1
    if scheduler.scheduler_cls is None and not has_partner:
        scheduler.scheduler_cls = SCHEDULERS[bool(scheduler.async_scheduling)]


def decides(config: VllmConfig) -> bool:
    """Return whether the engine makes decisions in its scheduler, and may tell the log-probabilities of two tokens."""
    tells_scores = config.model_config.max_logprobs == -1 or config.model_config.max_logprobs >= 2
    return tells_scores and config.scheduler_config.scheduler_cls in SCHEDULERS.values()


def cpu_defaults() -> Arguments:
    """Return defaults for a CPU. Figures in comments: two cores, a model of 135 M parameters."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores <= 2:
        # By default vLLM keeps one core for this process and computes on the other alone.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    defaults = {
        "dtype": "float32",  # most CPUs emulate bfloat16: 57 tokens/s instead of 170, with 64 streams
        "enforce_eager": True,  # starts in 40 seconds instead of 155
        "worker_cls": "autotool_server.engines.vllm_cpu_worker.Worker",  # vLLM's worker fails with a seed and a long prompt
        "block_size": 32,  # the smallest size of the kernels; with vLLM's 128 shorter prompts are not cached
    }
    if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        defaults["kv_cache_memory_bytes"] = CPU_CACHE_BYTES  # by default vLLM takes a large share of the memory
    return defaults
