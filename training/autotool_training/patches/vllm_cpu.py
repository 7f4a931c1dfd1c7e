"""Patch of vLLM 0.32 (`dispatch_cpu_unquantized_gemm`) and of TRL 1.16 (`LLM`) for rollouts by vLLM in this process on a CPU.

Reason: on a CPU vLLM packs the weights of linear layers when it has loaded them, and takes no others after that. And TRL starts
it without the flags that it needs there.
"""

from functools import partial
from importlib import import_module
from typing import Any

import torch


def patch_vllm_on_cpu() -> None:
    """Let vLLM keep its weights as they are, and start with the flags for a CPU. Nothing is changed where there is a GPU."""
    if torch.cuda.is_available():
        return
    generation: Any = import_module("trl.generation.vllm_generation")
    layers: Any = import_module("vllm.model_executor.layers.utils")
    if not isinstance(generation.LLM, partial):
        generation.LLM = partial(generation.LLM, dtype="float32", enforce_eager=True, block_size=32)
    layers.dispatch_cpu_unquantized_gemm = _unpacked


def _unpacked(layer: Any, remove_weight: bool) -> None:
    layer.cpu_linear = torch.nn.functional.linear
