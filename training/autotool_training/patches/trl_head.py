"""Patch of TRL 1.16 (private names `_use_triton` of `trl.trainer.utils` and `trl.kernels.chunked_logprob`): the fused head.

Reason: the head reads `bias`, which PEFT's wrapper around a head with trained rows does not have. And on a CPU it scores
every position, prompts and padding too, to avoid recompilations that only accelerators have: half of the time of a tiny
model's step.
"""

from typing import Any

import torch
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer import utils


def patch_fused_head(model: Any) -> None:
    """Give the model's head a `bias`, and let TRL's fused head score only labelled positions on a CPU too.

    The second holds for all models of this process.
    """
    head = model.get_output_embeddings()
    if not hasattr(head, "bias"):
        head.bias = None
    module: Any = utils
    module._use_triton = _scores_labelled_only


def _scores_labelled_only(device: torch.device) -> bool:
    return device.type == "cpu" or _use_triton(device)
