"""Tables and figures of graded-free runs from what `graded_free_measure.py` has measured.

    python training/recipes/graded_free_report.py test free free/report

reads FOLDER/ARM-SEED/measured-test.jsonl of all arms and seeds and writes OUT.md and OUT.svg. The table has the last checkpoint
of each run; retained shares compare it with the checkpoint that RL began from. The comparison of the whole method with plain
GRPO takes the answers of all seeds to one task together: the mean over the seeds of its difference is one value, and the
bootstrap resamples tasks within their levels. The figure has the mean over the seeds.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from autotool_bench.report.intervals import percentile_interval, resampled_sums
from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_training.plot import COLOURS

HARD = (5, 6)
"""The levels at which an answer without reasoning is seldom right."""
METHOD, PLAIN = "autotool", "grpo"
PANELS: Mapping[str, str] = {
    "entropy_long": "H of long answers (nats a token)",
    "entropy_short": "H of short answers (nats a token)",
    "think_tokens": "tokens of a think block",
    "p_long": "mean probability of a long answer",
    "hard_auto": "right in auto at hard levels",
    "hard_long": "right in long at hard levels",
}


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured of one checkpoint: arrays with a value for each task, NaN where it is not known."""

    step: int
    values: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Point":
        """Read a line of the measured file, and add what follows from it."""
        values = {name: np.array(held, dtype=float) for name, held in line.items() if name != "step"}
        values["right_auto"] = np.where(values["p_long"] > 0.5, values["right_long"], values["right_short"])
        hard = np.isin(values["level"], HARD)
        for mode in ("auto", "long", "short"):
            values[f"hard_{mode}"] = np.where(hard, values[f"right_{mode}"], np.nan)
        return cls(line["step"], values)

    def mean(self, name: str) -> float:
        """Return the mean over the tasks for which it is known."""
        return float(np.nanmean(self.values[name]))

    def by_level(self, name: str) -> str:
        """Return the mean of each level in per cent."""
        levels = self.values["level"]
        return " ".join(f"{100 * self.values[name][levels == level].mean():.0f}" for level in np.unique(levels))


def main(split: str, folder: str, out: str) -> None:
    """Write the tables and the figure."""
    arms = read(split, Path(folder))
    Path(f"{out}.md").write_text("\n".join([*table(arms), "", *comparison(arms), ""]), encoding="utf-8")
    draw(arms, Path(f"{out}.svg"))


def read(split: str, folder: Path) -> dict[str, dict[int, list[Point]]]:
    """Return the points of each arm and seed. Raises AutoToolError if there are none."""
    arms: dict[str, dict[int, list[Point]]] = defaultdict(dict)
    for file in sorted(folder.glob(f"*-*/measured-{split}.jsonl")):
        arm, _, seed = file.parent.name.rpartition("-")
        points = sorted((Point.of(line) for line in jsonl.read(file)), key=lambda point: point.step)
        if len(points) > 1:
            arms[arm][int(seed)] = points
    if not arms:
        raise AutoToolError(f"{folder} holds no run with measured-{split}.jsonl: run graded_free_measure.py first.")
    return dict(arms)


def table(arms: Mapping[str, Mapping[int, Sequence[Point]]]) -> list[str]:
    """Return the rows of Markdown."""
    rows = [
        "| run | step | H_long (kept) | H_short (kept) | think tokens (kept) | p_long by level, % | auto by level, % "
        "| hard: auto, long, short, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, seeds in arms.items():
        for seed, points in seeds.items():
            first, last = points[0], points[-1]
            kept = [f"{last.mean(name):.3g} ({100 * last.mean(name) / first.mean(name):.0f} %)" for name in list(PANELS)[:3]]
            hard = ", ".join(f"{100 * last.mean(f'hard_{mode}'):.1f}" for mode in ("auto", "long", "short"))
            shares = f"{last.by_level('p_long')} | {last.by_level('right_auto')}"
            rows.append(f"| {arm}-{seed} | {last.step} | {' | '.join(kept)} | {shares} | {hard} |")
    return rows


def comparison(arms: Mapping[str, Mapping[int, Sequence[Point]]]) -> list[str]:
    """Return the difference of the whole method and plain GRPO at the last step, with its interval, in points."""
    seeds = sorted(arms.get(METHOD, {}).keys() & arms.get(PLAIN, {}).keys())
    if not seeds:
        return [f"No seed has both {METHOD} and {PLAIN}."]
    rows = [f"{METHOD} less {PLAIN} at the last step, seeds {', '.join(map(str, seeds))}:", ""]
    for name in ("hard_auto", "hard_long", "right_auto"):
        ends = [[arms[arm][seed][-1].values[name] for seed in seeds] for arm in (METHOD, PLAIN)]
        one, other = (np.mean(end, axis=0) for end in ends)
        value, low, high = difference(one, other, arms[METHOD][seeds[0]][-1].values["level"])
        by_seed = ", ".join(f"{100 * np.nanmean(method - plain):+.1f}" for method, plain in zip(*ends, strict=True))
        rows.append(f"- {name}: {value:+.1f} ({low:+.1f} to {high:+.1f}); by seed {by_seed}")
    return rows


def difference(one: np.ndarray, other: np.ndarray, level: np.ndarray) -> tuple[float, float, float]:
    """Return the mean difference (n,) of the tasks with a value, in points, and its 95 % bootstrap interval by level."""
    known = ~np.isnan(one)
    gaps, strata = 100 * (one - other)[known], np.unique(level[known], return_inverse=True)[1]
    sums = resampled_sums(gaps[:, None], strata).sum(0)[:, 0]
    interval = percentile_interval(sums / len(gaps))
    return float(gaps.mean()), interval.low, interval.high


def draw(arms: Mapping[str, Mapping[int, Sequence[Point]]], out: Path) -> None:
    """Draw each arm over its steps, as the mean of its seeds and a thin line for each."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
        for colour, (arm, seeds) in enumerate(arms.items()):
            style = {"color": COLOURS[colour % len(COLOURS)], "linestyle": ("-", "--")[colour // len(COLOURS) % 2]}
            curves = {seed: {point.step: point.mean(name) for point in points} for seed, points in seeds.items()}
            for curve in curves.values():
                axes.plot(curve.keys(), curve.values(), linewidth=0.6, alpha=0.5, **style)
            steps = sorted(set.intersection(*(set(curve) for curve in curves.values())))
            means = [np.mean([curve[step] for curve in curves.values()]) for step in steps]
            axes.plot(steps, means, linewidth=1.6, label=arm, **style)
        axes.set(title=title, xlabel="step")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
