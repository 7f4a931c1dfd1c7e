"""What TRL's fused head needs beside what it finds. Private names of TRL 1.16, hence the pin."""

from typing import Any

import torch
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer import utils


def fit_head(model: Any) -> None:
    """Make TRL's fused head work with PEFT, and fast without a GPU.

    PEFT's wrapper around a head whose rows are trained has no `bias`, which the head asks for. And on a CPU it scores every
    position, prompts and padding too, against recompilations that only accelerators do: half of the time of a tiny model's
    step. It scores the labelled ones alone on a CPU too, from the first call on.
    """
    head = model.get_output_embeddings()
    if not hasattr(head, "bias"):
        head.bias = None
    module: Any = utils
    module._use_triton = _scores_labelled_alone


def _scores_labelled_alone(device: torch.device) -> bool:
    return device.type == "cpu" or _use_triton(device)
