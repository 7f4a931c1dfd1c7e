"""Micro-batches that hold the rollouts of as few prompts as possible, so that a prompt is seldom computed twice in a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import split_tensor_dict


def by_prompt(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return as many micro-batches with the same rollouts as in `parts`, in the order of their prompts.

    Each is a mapping to tensors and lists with a value for each rollout, and to numbers. `prompt_ids` is (B, tokens), equally
    wide in all parts of a step. The sum over a step does not depend on the order but for
    the loss `bnpo`.
    """
    whole = {name: _joined([part[name] for part in parts]) for name in parts[0]}
    order = torch.unique(whole["prompt_ids"], dim=0, return_inverse=True)[1].argsort(stable=True)
    return split_tensor_dict({name: _ordered(values, order) for name, values in whole.items()}, len(parts))


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat([*values]) if first.dim() else first
    return [item for part in values for item in part] if isinstance(first, list) else first


def _ordered(values: Any, order: Tensor) -> Any:
    if isinstance(values, Tensor):
        return values[order] if values.dim() else values
    return [values[at] for at in order.tolist()] if isinstance(values, list) else values
