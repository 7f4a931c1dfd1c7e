"""Regret against a per-item oracle over the forced modes, and the calibration of p_long."""

from dataclasses import dataclass

import numpy as np

from autotool_bench.report.columns import Bools, Floats, Ints, Items
from autotool_core.intervals import Interval, wilson

BINS = 10


@dataclass(frozen=True, slots=True)
class Regret:
    """A mode against the oracle, over the items that the mode and both forced modes have."""

    items: int
    accuracy: float
    oracle_accuracy: float
    accuracy_regret: float
    """The oracle's accuracy minus the mode's; below 0 if a mode solves items that neither forced mode solves."""
    token_ratio: float | None
    """The mode's generated tokens over the oracle's; None if the oracle generated none."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The items whose p_long lies in [low, high); the last bin includes 1."""

    low: float
    high: float
    items: int
    p_long: float
    """Mean over the bin's items."""
    long_share: float
    """Share of the items that only long solves."""
    interval: Interval


@dataclass(frozen=True, slots=True)
class Reliability:
    """p_long of the first turn against the need for long, over the items that exactly one of the forced modes solves."""

    mode: str
    items: int
    calibration_error: float
    """Expected calibration error: mean over the bins of |p_long - long_share|, weighted by their items."""
    bins: tuple[Bin, ...]


def regrets(items: Items) -> dict[str, Regret]:
    """Return the regret of each mode that shares items with both forced modes; {} if the run lacks a forced mode."""
    if not {"long", "short"} <= set(items.modes):
        return {}
    best = _oracle(items)
    both = {mode: (best >= 0) & (items.item_rows(mode) >= 0) for mode in items.modes}
    return {mode: _regret(items, items.item_rows(mode)[held], best[held]) for mode, held in both.items() if held.any()}


def _oracle(items: Items) -> Ints:
    """Return the row that the oracle takes of each item, (ids,): the solved one, then that of fewer tokens, then short.

    -1 stands for an item that a forced mode did not attempt or did not answer: without an answer its tokens are unknown.
    """
    long, short = items.item_rows("long"), items.item_rows("short")
    answered = items.codes("message") < 0
    solved, generated = items.columns["solved"], items.columns["generated"]
    better = solved[long] > solved[short]
    cheaper = (solved[long] == solved[short]) & (generated[long] < generated[short])
    return np.where((long >= 0) & (short >= 0) & answered[long] & answered[short], np.where(better | cheaper, long, short), -1)


def _regret(items: Items, rows: Ints, best: Ints) -> Regret:
    solved, generated = items.columns["solved"], items.columns["generated"]
    mine, oracle, tokens = float(solved[rows].mean()), float(solved[best].mean()), float(generated[best].sum())
    return Regret(len(rows), mine, oracle, oracle - mine, float(generated[rows].sum()) / tokens if tokens else None)


def reliability(items: Items) -> Reliability | None:
    """Return the reliability curve of the first auto mode (a bias does not change p_long); None without a suitable item."""
    auto = next((mode for mode in items.modes if mode.partition("@")[0] == "auto"), None)
    if auto is None or not {"long", "short"} <= set(items.modes):
        return None
    p_long, long_wins = _discordant(items, auto)
    return _curve(auto, p_long, long_wins) if len(p_long) else None


def _discordant(items: Items, auto: str) -> tuple[Floats, Bools]:
    """Return p_long, and whether long solves, of the items that exactly one forced mode solves."""
    long, short, rows = (items.item_rows(mode) for mode in ("long", "short", auto))
    held = (long >= 0) & (short >= 0) & (rows >= 0)
    long, short, p_long = items.columns["solved"][long], items.columns["solved"][short], items.columns["p_long"][rows]
    held &= (long != short) & ~np.isnan(p_long)
    return p_long[held], long[held] > 0


def _curve(mode: str, p_long: Floats, long_wins: Bools) -> Reliability:
    indices = np.minimum((p_long * BINS).astype(int), BINS - 1)
    bins = tuple(_bin(int(index), p_long[indices == index], long_wins[indices == index]) for index in np.unique(indices))
    error = sum(part.items * abs(part.p_long - part.long_share) for part in bins) / len(p_long)
    return Reliability(mode, len(p_long), error, bins)


def _bin(index: int, p_long: Floats, long_wins: Bools) -> Bin:
    n, wins = len(p_long), int(long_wins.sum())
    return Bin(index / BINS, (index + 1) / BINS, n, float(p_long.mean()), wins / n, wilson(wins, n))
