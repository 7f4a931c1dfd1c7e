"""What `auto` saves and loses, estimated from audited requests.

Every request has the same probability of being audited, so that the inverse-probability weights of a Horvitz-Thompson
estimator (Horvitz and Thompson, 1952) are all equal and cancel in a ratio: the share of tokens that is saved is one minus the
ratio of the means of both tokens over the audited requests. Where `auto` answered in the mode that it is compared with, that
mode's answer is the one of `auto` without the token of the decision. The points that are lost are the difference of the shares
solved. Intervals are the benchmark's: 95 %, percentile bootstrap over requests (`autotool_core.intervals`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotool_core.intervals import Floats, Interval, difference_interval, percentile_interval, ratio, resampled_sums
from autotool_core.modes import ResolvedMode
from autotool_server.audit.records import Pair, SettledBy

DECISION_TOKENS = 1
"""What the decision costs an answer in `auto`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the number with half of the interval's width."""
        return f"{self.value:.1f} ± {(self.high - self.low) / 2:.1f}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`auto` against one mode for all requests."""

    tokens_saved: Estimate
    """Decoded tokens that `auto` has saved, in per cent of those of the mode."""
    points_lost: Estimate
    """Percentage points of the requests that the mode solves more than `auto`."""


@dataclass(frozen=True, slots=True)
class Savings:
    """What audited requests say."""

    requests: int
    """Audited requests."""
    settled_by: Mapping[SettledBy, int]
    """Those of them by what has settled whether `auto` solved them."""
    against_long: Comparison
    against_short: Comparison

    def __str__(self) -> str:
        """Return the result as a sentence."""
        long = self.against_long
        return f"auto saved {long.tokens_saved} % of tokens, lost {long.points_lost} points"


def savings(pairs: Sequence[Pair]) -> Savings | None:
    """Return what audited requests say of `auto`; None without any."""
    if not pairs:
        return None
    settled_by = Counter[SettledBy](pair.settled_by for pair in pairs)
    long, short = (_comparison(pairs, mode) for mode in ResolvedMode)
    return Savings(len(pairs), settled_by, long, short)


def _comparison(pairs: Sequence[Pair], mode: ResolvedMode) -> Comparison:
    values = np.array([_row(pair, mode) for pair in pairs], dtype=np.float64)
    sums = resampled_sums(values, np.zeros(len(pairs), dtype=np.intp))[0]
    auto, other, lost = values.sum(axis=0)
    saved = 100 * (1 - ratio(sums[:, 0], sums[:, 1]))
    points = difference_interval(sums[:, 2], len(pairs))
    return Comparison(
        _estimate(100 * (1 - auto / other) if other else 0.0, percentile_interval(_finite(saved))),
        _estimate(100 * lost / len(pairs), Interval(100 * points.low, 100 * points.high)),
    )


def _row(pair: Pair, mode: ResolvedMode) -> tuple[float, float, float]:
    """Return the tokens of `auto`, those of the mode, and what the mode has solved more (1, 0 or -1)."""
    if pair.resolved is mode:
        return pair.tokens + DECISION_TOKENS, pair.tokens, 0
    return pair.tokens + DECISION_TOKENS, pair.other_tokens, pair.other_solved - pair.solved


def _finite(saved: Floats) -> Floats:
    """Return resamples whose mode has any tokens; 0 if there is none."""
    finite = saved[np.isfinite(saved)]
    return finite if len(finite) else np.zeros(1)


def _estimate(value: float, interval: Interval) -> Estimate:
    return Estimate(float(value), interval.low, interval.high)
