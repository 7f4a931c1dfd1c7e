"""vLLM's engine arguments: the user's, checked by vLLM's own parser, over the few defaults that are ours.

Imports vLLM, so only `engines.vllm` imports it, and only when an engine starts.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.utils.argparse_utils import FlexibleArgumentParser

from autotool_core.errors import AutoToolError

Arguments = Mapping[str, str | int | float | bool]

CPU_CACHE_BYTES = 2 * 2**30

# A structural tag means what xgrammar says it means; vLLM's `auto` hands what xgrammar refuses to other backends.
ALWAYS: Arguments = {"structured_outputs_config": '{"backend": "xgrammar"}'}


class _Parser(FlexibleArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AutoToolError(f"An engine argument is not what vLLM takes: {message}.")


def parse(model: str, given: Arguments) -> AsyncEngineArgs:
    """What `vllm serve` would make of the same arguments. Raises AutoToolError that names an unknown or malformed one."""
    parser = AsyncEngineArgs.add_cli_args(_Parser())
    _check_names(given, sorted({action.dest for action in parser._actions} - {"help", "model"}))
    defaults = cpu_defaults() if current_platform.is_cpu() else {}
    chosen = {**ALWAYS, **defaults, **given, "model": model}
    options = parser.parse_args([_option(name, value) for name, value in chosen.items()])
    return AsyncEngineArgs.from_cli_args(options)  # pyright: ignore[reportArgumentType] # the parser mistypes its result


def _check_names(given: Arguments, known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"; did you mean {near[0]}?" if near else "."
            raise AutoToolError(f"{name} is not an engine argument of vLLM{mend}")


def _option(name: str, value: str | float | bool) -> str:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option}={value}"


def cpu_defaults() -> Arguments:
    """What makes vLLM usable on a CPU; the figures were measured on two cores with a model of 135 M parameters."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores <= 2:
        # vLLM would keep one core for this process and compute on the other alone.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    defaults = {
        "dtype": "float32",  # most CPUs emulate bfloat16: 57 tokens a second instead of 170, at 64 streams
        "enforce_eager": True,  # starts in 40 seconds instead of 155
        "worker_cls": "autotool_server.engines.vllm_cpu_worker.Worker",  # vLLM's own is ended by a seed and a long prompt
        "block_size": 32,  # the smallest that the kernels are made for; vLLM's 128 would not cache shorter prompts at all
    }
    if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        defaults["kv_cache_memory_bytes"] = CPU_CACHE_BYTES  # vLLM takes a large share of the machine's memory
    return defaults
