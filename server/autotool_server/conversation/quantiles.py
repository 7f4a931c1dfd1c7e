"""Quantiles of what is to come, from samples of what was.

The quantile `q` of a sample of n values is the one of rank q (n + 1): of an exchangeable next value the interval between the
quantiles 5 and 95 then has at least nine of ten, from 19 values on (split conformal prediction; Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005). With fewer values it is that from the least to the greatest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95
ROUNDING = 1e-9
"""What sums of equal weights may miss."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Three quantiles of a number."""

    p5: float
    p50: float
    p95: float


def quantiles(samples: Sequence[tuple[float, Sequence[float]]]) -> Quantiles | None:
    """Return the quantiles of a mixture of samples, each with its weight, of which the sum is 1.

    None without any value, and where a sample without a value has the weight of a tail or more: nothing is known of it.
    """
    values = sorted(_weighted(samples))
    if not values or any(weight >= LOW and not sample for weight, sample in samples):
        return None
    low = _reached([*reversed(values)], 1 - LOW)
    return Quantiles(low, _reached(values, MIDDLE), _reached(values, HIGH))


def _weighted(samples: Sequence[tuple[float, Sequence[float]]]) -> Iterator[tuple[float, float]]:
    """Yield each value with its weight. What is left of a sample's weight is that of values beyond all that were seen."""
    for weight, sample in samples:
        for value in sample if weight > 0 else ():
            yield value, weight / (len(sample) + 1)


def _reached(values: Sequence[tuple[float, float]], share: float) -> float:
    """Return the value at which a share of all weights is reached, else the last one."""
    total = 0.0
    for value, weight in values:
        total += weight
        if total >= share - ROUNDING:
            return value
    return values[-1][0]
