"""Refinement: choosing the items that RL trains on, from several probe rounds of the model in training.

A probe round gives each item a rate r_jt in [0, 1]: its share of right rollouts, or its mean reward scaled to [0, 1].

1. An item is too easy if r_jt = 1 in every round, and too hard if no rollout is right in any round: its rollouts do not
   differ in reward. Half of each, drawn by the seed, is dropped; the others stay, because the model changes and some of
   them will differ again.
2. Every other item is kept if it is aligned with the learning trajectory c_t = mean_j r_jt over these items. Its score is
   1 minus the variance of its rate about the trajectory, in units of the distance to a rate of 1 (LIMR, arXiv 2502.11886):

       s_j = 1 - Σ_t (r_jt - c_t)² / Σ_t (1 - c_t)²        kept if s_j ≥ min_alignment

   The fewer the rollouts, the further a rate is from any trajectory by chance, so that no number suits all groups. By
   default it is the median of the scores: of these items the better aligned half stays, as half of the others does.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from autotool_core.errors import AutoToolError


@dataclass(frozen=True, slots=True)
class Selection:
    """The kept items, and the number of dropped ones by reason."""

    kept: tuple[int, ...]
    """Indices of the kept items, in ascending order."""
    verdicts: tuple[str, ...]
    """The verdict of each item: `too easy`, `too hard`, `unaligned` or `aligned`."""
    counts: dict[str, int]
    """`items`, `too_easy`, `too_hard`, `dropped_easy`, `dropped_hard`, `dropped_unaligned`, `kept`."""


def select_records(
    rates: Sequence[Sequence[float]],
    *,
    seed: int,
    min_alignment: float | Literal["median"] = "median",
    accuracy: Sequence[Sequence[float]] | None = None,
) -> Selection:
    """Choose items by their rates (items, rounds).

    `accuracy` (items, rounds) is the share of right rollouts, to be given if the rates are rewards: an item whose rollouts
    are all long and wrong has a mean reward above the lowest. Raises AutoToolError for rates that are ragged or not in
    [0, 1].
    """
    _check(rates)
    easy = [index for index, item in enumerate(rates) if min(item) == 1]
    hard = [index for index, item in enumerate(rates if accuracy is None else accuracy) if max(item) == 0]
    extreme = {*easy, *hard}
    middle = [index for index in range(len(rates)) if index not in extreme]
    scores = alignment([rates[index] for index in middle])
    least = min_alignment if min_alignment != "median" else median(scores or [0.0])
    unaligned = [index for index, score in zip(middle, scores, strict=True) if score < least]
    draw = random.Random(seed)  # noqa: S311 sampling, not a secret
    dropped_easy, dropped_hard = (draw.sample(part, len(part) // 2) for part in (easy, hard))
    dropped = {*dropped_easy, *dropped_hard, *unaligned}
    kept = tuple(index for index in range(len(rates)) if index not in dropped)
    verdict = {**dict.fromkeys(easy, "too easy"), **dict.fromkeys(hard, "too hard"), **dict.fromkeys(unaligned, "unaligned")}
    counts = {
        "items": len(rates),
        "too_easy": len(easy),
        "too_hard": len(hard),
        "dropped_easy": len(dropped_easy),
        "dropped_hard": len(dropped_hard),
        "dropped_unaligned": len(unaligned),
        "kept": len(kept),
    }
    return Selection(kept, tuple(verdict.get(index, "aligned") for index in range(len(rates))), counts)


def alignment(rates: Sequence[Sequence[float]]) -> list[float]:
    """Return s_j of items (items, rounds), none of which has a rate of 1 in every round."""
    trajectory = [sum(column) / len(rates) for column in zip(*rates, strict=True)]
    left = sum((1 - mean) ** 2 for mean in trajectory)
    return [1 - sum((rate - mean) ** 2 for rate, mean in zip(item, trajectory, strict=True)) / left for item in rates]


def _check(rates: Sequence[Sequence[float]]) -> None:
    if len({len(item) for item in rates}) != 1 or not rates[0]:
        raise AutoToolError("Refinement needs the same number of probe rounds for every item, at least one.")
    if any(not 0 <= rate <= 1 for item in rates for rate in item):
        raise AutoToolError("Refinement needs rates between 0 and 1: scale rewards to that range first.")
