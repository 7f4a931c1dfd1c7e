"""Dynamic sampling (DAPO, arXiv 2503.14476): groups of equal rewards are replaced by groups of further records.

All advantages of such a group are 0, so that a step with many of them learns from few rollouts. Replacing them hides collapse,
which makes such groups, from whoever looks at the rollouts of the loss alone. So the rollouts that were drawn first are marked
(`drawn`): the metrics and what adapts β_l are of these, replaced or not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]
"""A batch of rollouts: tensors of one row for each, of which `drawn` is (B,) of bool, and numbers."""


def replace_dead_groups(
    first: Batch,
    live: Tensor,
    group: int,
    *,
    generate: Callable[[int, int], tuple[Batch, Tensor]],
    largest: Callable[[int], int],
    attempts: int,
) -> tuple[dict[str, Tensor], list[int]]:
    """Return the batch with groups of equal rewards replaced, as far as others are found, and the numbers of these groups.

    `live` (B,) is from `objective.live_groups`. `generate` gets a number of groups and that of the attempt, and returns a batch
    of so many with its own `live`. `largest` returns the largest of all ranks' numbers: every rank generates as many groups.
    """
    batch, dead, replaced = dict(first), _groups(~live, group), list[int]()
    for attempt in range(attempts):
        wanted = largest(len(dead))
        if not wanted:
            break
        more, more_live = generate(wanted, attempt)
        found = _groups(more_live, group)[: len(dead)]
        gone, dead = dead[: len(found)], dead[len(found) :]
        batch = _with_rows(batch, {**more, "drawn": torch.zeros_like(more_live)}, _rows(gone, group), _rows(found, group))
        replaced += gone
    return batch, replaced


def rows_of(batch: Batch, groups: Sequence[int], group: int) -> dict[str, Tensor]:
    """Return the rows of some groups; numbers stay."""
    return {name: value[_rows(groups, group)] if value.dim() else value for name, value in batch.items()}


def _groups(chosen: Tensor, group: int) -> list[int]:
    return chosen.view(-1, group)[:, 0].nonzero().flatten().tolist()


def _rows(groups: Sequence[int], group: int) -> list[int]:
    return [at * group + place for at in groups for place in range(group)]


def _with_rows(batch: Batch, more: Batch, at: Sequence[int], by: Sequence[int]) -> dict[str, Tensor]:
    """Return the batch with rows `at` replaced by rows `by` of another one, whose tensors may be wider or narrower."""
    changed: dict[str, Tensor] = {}
    for name, value in batch.items():
        if value.dim() == 0:
            changed[name] = value
            continue
        width = max(value.size(-1), more[name].size(-1)) if value.dim() > 1 else 0
        changed[name] = _padded(name, value, width).clone()
        changed[name][list(at)] = _padded(name, more[name], width)[list(by)]
    return changed


def _padded(name: str, value: Tensor, width: int) -> Tensor:
    """Return a tensor (B, T) of the width: prompts are padded on the left. The masks are 0 there, so that any value does."""
    missing = width - value.size(-1)
    if value.dim() == 1 or not missing:
        return value
    return torch.nn.functional.pad(value, (missing, 0) if name.startswith("prompt") else (0, missing))


def draw_rows(dataset: Any, groups: int, group: int, seed: int) -> list[dict[str, Any]]:
    """Return the rows of so many records, drawn without replacement if there are as many, each as often as a group is large."""
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
    return [dataset[order[at % len(order)]] for at in range(groups) for _ in range(group)]
