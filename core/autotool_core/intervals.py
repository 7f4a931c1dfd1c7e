"""Confidence intervals and tests.

Efron, B. and Tibshirani, R. (1993), An Introduction to the Bootstrap. Wilson, E. B. (1927), Probable inference, the law of
succession, and statistical inference. McNemar, Q. (1947), Note on the sampling error of the difference between correlated
proportions or percentages.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
SEED = 0
RESAMPLES = 2000
TAILS = (0.025, 0.975)
Z = 1.959963984540054  # the normal quantile at the upper tail
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval. `high` of a cost is infinite if some resamples solve no task."""

    low: float
    high: float


def resampled_sums(values: Floats, strata: Ints, *, seed: int = SEED, resamples: int = RESAMPLES) -> Floats:
    """Return column sums of bootstrap resamples, drawn within each stratum: (n, k) and (n,) → (strata, resamples, k).

    Strata are numbered from 0; a stratum without rows sums to 0. Each stratum has its own random stream, so that its figures do
    not change when another stratum is added or removed.
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
    """Divide element by element; infinite where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, math.inf), where=denominator > 0)


def percentile_interval(statistics: Floats) -> Interval:
    """Return the middle 95 % of a statistic's resamples, some of which may be infinite."""
    low, high = np.quantile(statistics, TAILS, method="inverted_cdf")
    return Interval(float(low), float(high))


def proportion_interval(solved: Floats, n: int) -> Interval:
    """Return the interval of a share, from its resampled counts (resamples,).

    If every resample has the same count (all or none solved), the bootstrap has no width and Wilson's interval replaces it.
    """
    if solved.min() == solved.max():
        return wilson(int(solved[0]), n)
    return percentile_interval(solved / n)


def difference_interval(differences: Floats, n: int) -> Interval:
    """Return the interval of a difference of shares over n pairs, from its resampled counts (resamples,).

    If every resample has the same difference, the bootstrap has no width, and Wilson's interval of that share replaces it. If
    no pair differs, the bounds are plus and minus Wilson's upper bound of 0 in n.
    """
    if differences.min() != differences.max():
        return percentile_interval(differences / n)
    count = int(differences[0])
    bounds = wilson(abs(count), n)
    return Interval(bounds.low if count > 0 else -bounds.high, bounds.high if count >= 0 else -bounds.low)


def wilson(successes: int, n: int) -> Interval:
    """Return Wilson's score interval of a binomial proportion, n > 0."""
    share, square = successes / n, Z * Z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test, a binomial test of the discordant pairs with p = 1/2."""
    n = only_first + only_second
    ways = total = 1
    for k in range(min(only_first, only_second)):
        ways = ways * (n - k) // (k + 1)
        total += ways
    # Python's integers have any size and their division rounds once, so the result is exact for every n.
    return min(1.0, 2 * total / 2**n)
