"""What graded-free runs have measured and logged, and the paired difference of two sets of checkpoints.

Imported by `graded_free_gate.py`, `graded_free_verdicts.py` and `graded_free_report.py`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_core.intervals import percentile_interval, resampled_sums
from autotool_training.common.resume import stored_run

EASY, HARD = (1, 2, 3, 4), (5, 6)
"""Levels; an answer without reasoning is seldom right at the hard ones."""
TAIL = 10
"""The last steps over which logged figures are averaged."""
MAX_CUT = 0.05
"""A run of which more long answers are cut than this share has diverged."""
SEEDS = (0, 1, 2)
METHOD, PLAIN, SLOW, COUPLED, BONUS = "autotool", "grpo", "grpo-2e-4", "no-decoupling", "length-bonus"
DOSES = ("static-beta-0.005", "static-beta-0.05", "static-beta-0.5")
"""Constant β, rising."""
RUNS = (
    *(f"{arm}-{seed}" for arm in (PLAIN, METHOD) for seed in SEEDS),
    *(f"{arm}-0" for arm in (SLOW, *DOSES, COUPLED, BONUS)),
)
"""Runs that the report needs."""
MORE_RUNS = tuple(f"{arm}-{seed}" for arm in (COUPLED, BONUS, SLOW) for seed in SEEDS[1:])
"""Runs that count if they are there."""


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured of one checkpoint: arrays with a value for each task, NaN where it is not known."""

    values: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Point":
        """Read a line of the measured file, and add what follows from it."""
        values = {name: np.array(held, dtype=float) for name, held in line.items() if name != "step"}
        values["right_auto"] = np.where(values["p_long"] > 0.5, values["right_long"], values["right_short"])
        values["cut_long"] = np.isnan(values["entropy_long"]).astype(float)
        hard, easy = (np.isin(values["level"], levels) for levels in (HARD, EASY))
        for mode in ("auto", "long", "short"):
            values[f"hard_{mode}"] = np.where(hard, values[f"right_{mode}"], np.nan)
        values["hard_sampled"] = np.where(hard, values["sampled_right_long"], np.nan)
        values["easy_short"] = np.where(easy, values["right_short"], np.nan)
        return cls(values)

    def mean(self, name: str) -> float:
        """Return the mean over the tasks for which it is known; NaN if there are none."""
        known = self.values[name][~np.isnan(self.values[name])]
        return float(known.mean()) if len(known) else float("nan")

    def by_level(self, name: str) -> str:
        """Return the mean of each level in per cent."""
        levels = self.values["level"]
        return " ".join(f"{100 * self.values[name][levels == level].mean():.0f}" for level in np.unique(levels))


@dataclass(frozen=True, slots=True)
class Run:
    """A run of RL."""

    name: str
    points: Mapping[int, Point]
    """What was measured at each step."""
    logged: Mapping[int, Mapping[str, float]]
    """What the trainer logged at each step."""
    targets: Mapping[str, float]
    """H_s and H_l (`short`, `long`) and the coupled one (`shared`), in nats a token; empty for an arm without targets."""
    cap: float
    """The largest β_l."""
    steps: int
    """The number of steps that it was to have; 0 if it has not begun."""

    @property
    def measured_steps(self) -> tuple[int, int, int]:
        """The steps at which it is measured: before the first, after half of them, and after the last."""
        return 0, self.steps // 2, self.steps

    @property
    def start(self) -> Point:
        """What the run has started from."""
        return self.points[0]

    @property
    def end(self) -> Point:
        """Its last checkpoint."""
        return self.points[self.steps]

    @property
    def middle(self) -> Point:
        """Its checkpoint after half of the steps."""
        return self.points[self.steps // 2]

    @property
    def has_diverged(self) -> bool:
        """Whether its answers at the end are no evidence, because too many are cut."""
        return self.end.mean("cut_long") > MAX_CUT

    def kept(self, name: str) -> float:
        """Return what is left at the end of a figure of the start, as a share."""
        return self.end.mean(name) / self.start.mean(name)

    def tail(self, metric: str) -> float:
        """Return the mean of a logged metric over the last steps that have it; NaN if none has."""
        values = [line[metric] for step, line in self.logged.items() if step > self.steps - TAIL and metric in line]
        return float(np.mean(values)) if values else float("nan")

    def steps_at_cap(self) -> int:
        """Return the number of steps with β_l at its cap."""
        return sum(line.get("beta_long", 0.0) >= self.cap * (1 - 1e-6) for line in self.logged.values())


def read_run(folder: Path, split: str) -> Run:
    """Read what a folder holds of a run, which may be nothing."""
    points = {line["step"]: Point.of(line) for line in jsonl.read(folder / f"measured-{split}.jsonl")}
    logged: dict[int, dict[str, float]] = {}
    for line in jsonl.read(folder / "metrics.jsonl"):
        logged.setdefault(line["step"], {}).update(line)
    file = folder / "targets.json"
    targets = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    settings = (stored_run(folder) or {}).get("settings", {})
    cap = settings.get("objective", {}).get("beta_cap", float("inf"))
    return Run(folder.name, points, logged, targets, cap, settings.get("steps", 0))


def read_runs(folder: Path, split: str, names: Iterable[str] = RUNS, more: Iterable[str] = MORE_RUNS) -> dict[str, Run]:
    """Return the runs by name, with those of `more` that have a folder. Raises AutoToolError, naming what is not complete."""
    names = [*names, *(name for name in more if (folder / name).exists())]
    runs = {name: read_run(folder / name, split) for name in names}
    if lacking := [f"{run.name} ({', '.join(lacks)})" for run in runs.values() if (lacks := _lacks(run, split))]:
        raise AutoToolError(f"{folder} holds runs that are not complete: {'; '.join(lacking)}.")
    if len({run.steps for run in runs.values()}) > 1:
        steps = ", ".join(f"{run.name} {run.steps}" for run in runs.values())
        raise AutoToolError(f"{folder} holds runs of different numbers of steps, which cannot be compared: {steps}.")
    return runs


def _lacks(run: Run, split: str) -> list[str]:
    lacks = [f"step {step} is not measured on {split}" for step in dict.fromkeys(run.measured_steps) if step not in run.points]
    if run.steps not in run.logged:
        lacks.append(f"step {run.steps} is not logged")
    if arm_of(run.name) in {METHOD, COUPLED} and not run.targets:
        lacks.append("no targets.json")
    return lacks


def arm_of(name: str) -> str:
    """Return the arm of a run's name."""
    return name.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Gap:
    """A mean difference, in points of a per cent, with its 95 % interval."""

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...] = ()

    def __str__(self) -> str:
        seeds = f"; by seed {', '.join(f'{value:+.1f}' for value in self.by_seed)}" if len(self.by_seed) > 1 else ""
        return f"{self.value:+.1f} ({self.low:+.1f} to {self.high:+.1f}{seeds})"


def gap(ones: Sequence[Point], others: Sequence[Point], name: str) -> Gap:
    """Return the difference of paired checkpoints, a pair for each seed: a task's value is its mean over the seeds.

    The bootstrap resamples the tasks that have a value within their levels, so that the interval is that of these seeds.
    """
    by_seed = [100 * (one.values[name] - other.values[name]) for one, other in zip(ones, others, strict=True)]
    gaps = np.mean(by_seed, axis=0)
    known = ~np.isnan(gaps)
    strata = np.unique(ones[0].values["level"][known], return_inverse=True)[1]
    sums = resampled_sums(gaps[known][:, None], strata).sum(0)[:, 0]
    interval = percentile_interval(sums / known.sum())
    return Gap(float(gaps[known].mean()), interval.low, interval.high, tuple(float(np.nanmean(one)) for one in by_seed))
