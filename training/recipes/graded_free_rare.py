"""Decides whether RL finds a mode that is hardly ever chosen, from what `graded_free_measure.py dev` has measured.

    python training/recipes/graded_free_rare.py free

reads FOLDER/rare, the start, and FOLDER/rare-grpo, -halved and -think-reward, and prints a verdict for each expectation of
docs/experiments/2026-11-29-collapse.md and a table of all checkpoints.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import graded_free_points as points
from autotool_core.console import plain_console
from graded_free_points import Point, Run

SPLIT = "dev"
START, PLAIN, HALVED, REWARD = "rare", "rare-grpo", "rare-halved", "rare-think-reward"
RARE, STILL_RARE, FOUND = 0.02, 0.05, 0.3
"""Largest mean p_long at hard levels of the start and of an arm that has not found it, and the smallest of one that has."""
MIN_GAIN = 10.0
"""Points of a per cent."""


def main(folder: str) -> None:
    """Print the verdicts and the table. Raises AutoToolError, which names the runs that are not complete."""
    runs = points.read_runs(Path(folder), SPLIT, (PLAIN, HALVED, REWARD), ())
    for line in [*verdicts(runs), "", *table(runs)]:
        plain_console().print(line, soft_wrap=True)


def verdicts(runs: dict[str, Run]) -> list[str]:
    """Return a row of Markdown for each expectation."""
    plain, halved, reward = (runs[name] for name in (PLAIN, HALVED, REWARD))
    gain = points.gap([halved.end], [plain.end], "hard_auto")
    start, by_plain, by_halved, by_reward = map(hard_p_long, (plain.start, plain.end, halved.end, reward.end))
    rows = [
        _row("the start hardly ever thinks", [], f"{start:.3f}", holds=start <= RARE),
        _row("plain GRPO does not find it", [plain], f"{by_plain:.3f}", holds=by_plain < STILL_RARE),
        _row(
            "halved groups find it",
            [plain, halved],
            f"{by_halved:.3f}; in auto less plain GRPO {gain}",
            holds=by_halved > FOUND and gain.value >= MIN_GAIN and gain.low > 0,
        ),
        _row("the think reward alone does not", [reward], f"{by_reward:.3f}", holds=by_reward < STILL_RARE),
    ]
    return ["| expectation | outcome | mean p_long at hard levels |", "|---|---|---|", *rows]


def table(runs: dict[str, Run]) -> list[str]:
    """Return a row of Markdown for each checkpoint."""
    lines = [
        _figures(f"{name}, step {step}", run.points[step]) for name, run in runs.items() for step in run.measured_steps[1:]
    ]
    head = [
        "| checkpoint | p_long by level, % | auto by level, % | hard: auto, long, short, % | cut, % |",
        "|---|---|---|---|---|",
    ]
    return [*head, _figures(START, runs[PLAIN].start), *lines]


def hard_p_long(point: Point) -> float:
    """Return the mean probability of the long mode at the hard levels."""
    return float(point.values["p_long"][np.isin(point.values["level"], points.HARD)].mean())


def _row(title: str, runs: Sequence[Run], figures: str, *, holds: bool) -> str:
    diverged = ", ".join(run.name for run in runs if run.has_diverged)
    outcome = "diverged" if diverged else "holds" if holds else "fails"
    return f"| {title} | {outcome} | {f'{diverged} diverged; ' if diverged else ''}{figures} |"


def _figures(name: str, point: Point) -> str:
    hard = ", ".join(f"{100 * point.mean(f'hard_{mode}'):.1f}" for mode in ("auto", "long", "short"))
    cut = 100 * point.mean("cut_long")
    return f"| {name} | {point.by_level('p_long')} | {point.by_level('right_auto')} | {hard} | {cut:.1f} |"


if __name__ == "__main__":
    main(*sys.argv[1:])
