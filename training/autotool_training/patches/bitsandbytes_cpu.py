"""Patch of bitsandbytes 0.50 (`Linear4bit.support_avx512bf16_for_cpu`): weights of 4 bits stay as they are on a CPU.

Reason: on a processor with AVX512-BF16 the first answer that is decoded packs them for a product that has no gradient, and
for good: LoRA would then be trained, without an error, by gradients that miss all layers but the last ones.
"""

from typing import Any


def keep_differentiable(model: Any) -> None:
    """Let a model of 4 bits never pack its weights. It has no effect on a GPU."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
