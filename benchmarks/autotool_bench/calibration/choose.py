"""How well p_long tells where long is needed, and the bias that meets a target, with bootstrap intervals over the tasks."""

import math
from dataclasses import dataclass

import numpy as np

from autotool_bench.calibration.pairs import Pairs
from autotool_bench.report.columns import Floats
from autotool_core.decision import auc
from autotool_core.intervals import RESAMPLES, SEED, Interval, percentile_interval, resampled_sums
from autotool_core.target import Target
from autotool_server.targets.dial import Dial, Figures, Step

GUESS = 0.5


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well p_long ranks the tasks in which long is right and short is not above all others."""

    tasks: int
    needs_long: int
    """Tasks in which long is right and short is not."""
    auc: float | None
    """The share of pairs of such a task and another in which it has the higher p_long; None without one of each."""
    interval: Interval | None

    @property
    def is_worth_something(self) -> bool:
        """Whether the interval lies above a guess."""
        return self.interval is not None and self.interval.low > GUESS


@dataclass(frozen=True, slots=True)
class Choice:
    """The bias that meets a target, added to that of the server's profile, with what is reached at it."""

    target: str
    bias: float
    bias_interval: Interval
    accuracy: float
    accuracy_interval: Interval
    generated_tokens: float
    generated_interval: Interval
    thinking_rate: float
    short_accuracy: float
    long_accuracy: float


def rank(pairs: Pairs) -> Ranking:
    """Return the ranking of the tasks by p_long."""
    log_odds, needed = pairs.log_odds, pairs.needs_long
    count = int(needed.sum())
    if count in (0, len(needed)):
        return Ranking(len(needed), count, None, None)
    draw = np.random.default_rng(SEED)
    picks = (draw.integers(len(needed), size=len(needed)) for _ in range(RESAMPLES))
    resampled = [auc(log_odds[pick].tolist(), needed[pick].tolist()) for pick in picks if 0 < needed[pick].sum() < len(pick)]
    value = auc(log_odds.tolist(), needed.tolist())
    return Ranking(len(needed), count, value, percentile_interval(np.array(resampled)))


def choose(pairs: Pairs, target: Target) -> Choice:
    """Return the bias that meets a target, as `autotool serve --target` takes it from a dial."""
    biases = pairs.biases()
    strata = np.zeros(len(pairs.tasks), dtype=np.intp)
    steps = np.hstack([pairs.outcomes(bias) for bias in biases])
    bias = _bias(steps.mean(0), biases, target)
    resampled = resampled_sums(steps, strata)[0] / len(strata)
    reached, ends = pairs.outcomes(bias), [pairs.outcomes(end) for end in (-math.inf, math.inf)]
    of_reached = resampled_sums(reached, strata)[0] / len(strata)
    accuracy, tokens, rate = reached.mean(0)
    return Choice(
        target=str(target),
        bias=bias,
        bias_interval=percentile_interval(np.array([_bias(means, biases, target) for means in resampled])),
        accuracy=float(accuracy),
        accuracy_interval=percentile_interval(of_reached[:, 0]),
        generated_tokens=float(tokens),
        generated_interval=percentile_interval(of_reached[:, 1]),
        thinking_rate=float(rate),
        short_accuracy=float(ends[0][:, 0].mean()),
        long_accuracy=float(ends[1][:, 0].mean()),
    )


def _bias(means: Floats, biases: list[float], target: Target) -> float:
    """Return the bias that meets a target by the mean outcomes at biases, (3 for each bias,)."""
    steps = [
        Step(bias=bias, figures=Figures(accuracy=accuracy, generated_tokens=tokens, thinking_rate=rate))
        for bias, (accuracy, tokens, rate) in zip(biases, means.reshape(-1, 3).tolist(), strict=True)
    ]
    return round(Dial(steps=tuple(steps)).bias_for(target), 3)
