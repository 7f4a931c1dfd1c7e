"""Which reasoning bias to take: the best position of the dial for each cost, and its gain over a coin toss.

A coin toss between short and long needs no model that chooses: with the share s of long it reaches the point at s of the way
on the straight line from short to long. A bias is worth having as far as it lies above that line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotool_bench.report.columns import Floats, Ints, Items
from autotool_bench.report.metrics import Figures, pareto
from autotool_core.intervals import Interval, difference_interval, percentile_interval, resampled_sums


@dataclass(frozen=True, slots=True)
class Gain:
    """Accuracy above the straight line from short to long, at the same mean generated tokens, as a share."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Position:
    """A position of the dial: a reasoning bias of auto, or a forced mode, with its figures."""

    mode: str
    bias: float | None
    """None for a forced mode."""
    figures: Figures
    gain: Gain | None
    """None without both forced modes, and for these."""

    @property
    def tokens(self) -> float:
        return self.figures.generated_tokens or 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The most accurate position for mean generated tokens per item from its own up to those of the next choice."""

    position: Position
    until: float
    """Infinite for the last choice."""


def choices(positions: Sequence[Position]) -> list[Choice]:
    """Return the positions to take, by rising cost: those of the Pareto frontier."""
    served = [position for position in positions if position.figures.served]
    best = [served[index] for index in pareto([(position.tokens, position.figures.accuracy) for position in served])]
    return [
        Choice(position, following.tokens if following else math.inf)
        for position, following in zip(best, [*best[1:], None], strict=True)
    ]


def largest_gain(positions: Sequence[Position]) -> Position | None:
    """Return the position farthest above the coin toss; None if no gain is known."""
    known = [position for position in positions if position.gain is not None]
    return max(known, key=lambda position: position.gain.value if position.gain else -math.inf, default=None)


def gain(items: Items, mode: str) -> Gain | None:
    """Return the gain of a mode with a paired bootstrap interval, over the items that it and both forced modes have."""
    modes = (mode, "short", "long")
    if not set(modes) <= set(items.modes):
        return None
    rows = np.stack([items.item_rows(name) for name in modes])
    rows = rows[:, (rows >= 0).all(axis=0)]
    if not rows.size:
        return None
    counted = np.hstack([_counted(items, part) for part in rows])
    sums = resampled_sums(counted, items.codes("category")[rows[0]]).sum(axis=0)
    count = rows.shape[1]
    resampled = _above_line(sums, count)
    known = resampled[~np.isnan(resampled)]
    value = float(_above_line(counted.sum(axis=0, keepdims=True), count)[0])
    if math.isnan(value) or not len(known):
        return None
    return Gain(value, _interval(known, count))


def _interval(gains: Floats, count: int) -> Interval:
    """Return the interval of a gain; where no resample differs, that of a difference of shares, which is never of no width."""
    if gains.min() == gains.max():
        return difference_interval(np.round(gains * count), count)
    return percentile_interval(gains)


def _counted(items: Items, rows: Ints) -> Floats:
    """Return solved, generated tokens and served of rows, (rows, 3)."""
    columns = items.columns
    return np.stack([columns["solved"][rows], columns["generated"][rows], (columns["turns"][rows] > 0).astype(float)], axis=1)


def _above_line(sums: Floats, count: int) -> Floats:
    """Return the gains of sums of solved, tokens and served, in turn of the mode, short and long: (n, 9) → (n,).

    Beyond the ends of the line a mode is compared with the end: no toss is cheaper or dearer. NaN if a mode served nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy, tokens = sums[:, 0::3] / count, sums[:, 1::3] / sums[:, 2::3]
        width = tokens[:, 2] - tokens[:, 1]
        share = np.where(width == 0, 0.5, (tokens[:, 0] - tokens[:, 1]) / width)
    line = accuracy[:, 1] + np.clip(share, 0, 1) * (accuracy[:, 2] - accuracy[:, 1])
    return accuracy[:, 0] - line
