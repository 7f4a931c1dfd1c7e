"""Intervals and tests, on plain numbers.

Efron, B. and Tibshirani, R. (1993), An Introduction to the Bootstrap. Wilson, E. B. (1927), Probable inference, the law of
succession, and statistical inference. McNemar, Q. (1947), Note on the sampling error of the difference between correlated
proportions or percentages.
"""

import math
from dataclasses import dataclass

import numpy as np

from autotool_bench.report.columns import Floats, Ints

SEED = 0
RESAMPLES = 2000
TAILS = (0.025, 0.975)
Z = 1.959963984540054  # the normal quantile at the upper one
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure lies with 95 % confidence. `high` is infinite where some resamples solve no task."""

    low: float
    high: float


def resampled_sums(values: Floats, strata: Ints, *, seed: int = SEED, resamples: int = RESAMPLES) -> Floats:
    """Column sums of bootstrap resamples, drawn within each stratum: (n, k) and (n,) → (strata, resamples, k).

    Strata are numbered from 0; one without rows sums to 0. Each has its own random stream, so that its figures do not move
    when another stratum comes or goes.
    """
    count = int(strata.max()) + 1 if len(strata) else 0
    sums = np.zeros((count, resamples, values.shape[1]))
    for stratum in range(count):
        _resample(values[strata == stratum], sums[stratum], np.random.default_rng([seed, stratum]))
    return sums


def _resample(rows: Floats, sums: Floats, rng: np.random.Generator) -> None:
    if not len(rows):
        return
    step = max(1, CHUNK // len(rows))  # bounds the memory
    for start in range(0, len(sums), step):
        part = sums[start : start + step]
        picks = rng.integers(len(rows), size=(len(part), len(rows)))
        for column in range(rows.shape[1]):
            part[:, column] = rows[:, column][picks].sum(axis=1)


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element by element; infinite where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, math.inf), where=denominator > 0)


def percentile_interval(statistics: Floats) -> Interval:
    """The middle 95 % of a statistic's resamples. Takes infinite ones."""
    low, high = np.quantile(statistics, TAILS, method="inverted_cdf")
    return Interval(float(low), float(high))


def proportion_interval(solved: Floats, n: int) -> Interval:
    """The interval of a share, from its resampled counts (resamples,).

    Where every resample counts the same (all or none solved), the bootstrap has no width and Wilson's interval stands in.
    """
    if solved.min() == solved.max():
        return wilson(int(solved[0]), n)
    return percentile_interval(solved / n)


def difference_interval(differences: Floats, n: int) -> Interval:
    """The interval of a difference of shares over n pairs, from its resampled counts (resamples,).

    Where every resample differs alike, the bootstrap has no width, and Wilson's interval of that share stands in; where no pair
    differs at all, up to its bound of none in n may still differ, either way.
    """
    if differences.min() != differences.max():
        return percentile_interval(differences / n)
    count = int(differences[0])
    bounds = wilson(abs(count), n)
    return Interval(bounds.low if count > 0 else -bounds.high, bounds.high if count >= 0 else -bounds.low)


def wilson(successes: int, n: int) -> Interval:
    """Wilson's score interval of a binomial proportion, n > 0."""
    share, square = successes / n, Z * Z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test: the discordant pairs against a fair coin."""
    n = only_first + only_second
    ways = total = 1
    for k in range(min(only_first, only_second)):
        ways = ways * (n - k) // (k + 1)
        total += ways
    # Integers of any size, and a division of integers that rounds once: exact for every n.
    return min(1.0, 2 * total / 2**n)
