"""The figures of a mode, and of a category in a mode. docs/guides/benchmark.md has every formula with its source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotool_bench.report.columns import Floats, Ints, Items
from autotool_core.intervals import Interval, percentile_interval, proportion_interval, ratio, resampled_sums


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of an item's latency, the sum of its turns, in seconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a set of rows. None stands for what the server does not report and for a division by zero.

    Means of tokens and latencies are over the served items, those with at least one turn: an item that was never answered
    must not make a server look cheap.
    """

    items: int
    solved: int
    errors: int
    served: int
    accuracy: float
    accuracy_interval: Interval
    generated_tokens: float | None
    generated_interval: Interval | None
    reasoning_tokens: float | None
    content_tokens: float | None
    prompt_tokens: float | None
    cached_tokens: float | None
    token_cost: float
    """All generated tokens over the number of solved tasks; infinite if no task is solved.

    The cost per solved task is the Cost-of-Pass of arXiv 2504.13359, in tokens: the mean cost of an attempt over the rate of
    success.
    """
    token_cost_interval: Interval
    thinking_rate: float | None
    thoughts: int
    """Turns in long of which the server says whether their reasoning was cut."""
    cut_thoughts: int
    """Those of them whose reasoning a limit of tokens cut."""
    cut_limit: int | None
    """The largest limit that cut one; None if none did, or if the rows do not have it."""
    acu: float | None
    latency: Latency | None


def acu(accuracy: float, parameters: float | None, tokens: float | None) -> float | None:
    """Return the accuracy per computation unit, in the unit of CoT-Valve's tables (arXiv 2502.09601, eq. 5 and table 1).

    It is 100 times the accuracy in per cent, over billions of parameters times mean generated tokens.
    """
    if not parameters or not tokens:
        return None
    return 100 * (100 * accuracy) / (parameters / 1e9 * tokens)


def figures_of(items: Items, mode: str, parameters: float | None) -> tuple[Figures, dict[str, Figures]]:
    """Return the figures of a mode and of its categories, from one bootstrap that is stratified by category."""
    rows = items.rows_of(mode)
    categories = items.codes("category")[rows]
    counted = np.stack(
        [items.columns["solved"], items.columns["generated"], (items.columns["turns"] > 0).astype(float)], axis=1
    )
    sums = resampled_sums(counted[rows], categories)
    by_category = {
        items.categories[code]: _figures(items, rows[categories == code], sums[code], parameters)
        for code in np.unique(categories)
    }
    return _figures(items, rows, sums.sum(axis=0), parameters), by_category


def _figures(items: Items, rows: Ints, sums: Floats, parameters: float | None) -> Figures:
    """Return the figures of rows; `sums` are resampled sums of solved, generated tokens and served, (resamples, 3)."""
    column = {name: values[rows] for name, values in items.columns.items()}
    served = column["turns"] > 0
    solved, generated = int(column["solved"].sum()), _mean(column["generated"][served])
    accuracy = solved / len(rows)
    return Figures(
        items=len(rows),
        solved=solved,
        errors=int((column["message"] >= 0).sum()),
        served=int(served.sum()),
        accuracy=accuracy,
        accuracy_interval=proportion_interval(sums[:, 0], len(rows)),
        generated_tokens=generated,
        generated_interval=_mean_interval(sums) if generated is not None else None,
        reasoning_tokens=_mean(column["reasoning"][served]),
        content_tokens=_mean(column["content"][served]),
        prompt_tokens=_mean(column["prompt"][served]),
        cached_tokens=_mean(column["cached"][served]),
        token_cost=float(column["generated"].sum()) / solved if solved else math.inf,
        token_cost_interval=percentile_interval(ratio(sums[:, 1], sums[:, 0])),
        thinking_rate=_share(column["long_turns"], column["reported_turns"]),
        thoughts=int(column["thoughts"].sum()),
        cut_thoughts=int(column["cut_thoughts"].sum()),
        cut_limit=_largest(column["cut_limit"]),
        acu=acu(accuracy, parameters, generated),
        latency=_latency(column["latency"][served]),
    )


def _mean(values: Floats) -> float | None:
    """Return the mean of the values that the server reports; None if it reports none."""
    reported = values[~np.isnan(values)]
    return float(reported.mean()) if len(reported) else None


def _largest(values: Floats) -> int | None:
    known = values[~np.isnan(values)]
    return int(known.max()) if len(known) else None


def _mean_interval(sums: Floats) -> Interval:
    """Return the interval of the mean over served items; a resample without a served item has no mean and is left out."""
    held = sums[sums[:, 2] > 0]
    return percentile_interval(held[:, 1] / held[:, 2])


def _share(part: Floats, whole: Floats) -> float | None:
    return float(part.sum() / whole.sum()) if whole.sum() else None


def _latency(seconds: Floats) -> Latency | None:
    return Latency(*(float(value) for value in np.percentile(seconds, (50, 90, 99)))) if len(seconds) else None


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (tokens, accuracy) on the Pareto frontier, by rising tokens."""
    frontier: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not frontier or points[index][1] > points[frontier[-1]][1]:
            frontier.append(index)
    return frontier
