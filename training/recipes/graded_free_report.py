"""The verdicts, tables and figures of graded-free runs, from what `graded_free_measure.py` has measured.

    python training/recipes/graded_free_report.py test free free/report

reads the runs of all arms and seeds in FOLDER and writes OUT.md and OUT.svg. Nothing is written if a run is not complete. The
first table decides the hypotheses (`graded_free_verdicts.py`). The second has the last checkpoint of each run; retained shares
compare it with the checkpoint that RL began from. The figure has the mean over the seeds.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graded_free_points as points
import graded_free_verdicts as verdicts
from autotool_core.console import plain_console
from autotool_training.plot import COLOURS
from graded_free_points import METHOD, PLAIN, SEEDS, Run

PANELS: Mapping[str, str] = {
    "entropy_long": "H of long answers (nats a token)",
    "entropy_think": "H of think blocks (nats a token)",
    "entropy_short": "H of short answers (nats a token)",
    "think_tokens": "tokens of a think block",
    "hard_auto": "right in auto at hard levels",
    "hard_long": "right in long at hard levels",
}
COMPARED = ("hard_auto", "hard_long", "hard_sampled", "right_auto")
"""Figures of the comparison; `hard_sampled` is of long answers at temperature 1 and secondary."""


def main(split: str, folder: str, out: str) -> None:
    """Write the tables and the figure. Raises AutoToolError, which names the runs that are not complete."""
    runs = points.read_runs(Path(folder), split)
    decided = verdicts.table(verdicts.verdicts(runs))
    for line in decided:
        plain_console().print(line, soft_wrap=True)
    text = [*decided, "", *table(runs.values()), "", *comparison(runs), ""]
    Path(f"{out}.md").write_text("\n".join(text), encoding="utf-8")
    draw(runs.values(), Path(f"{out}.svg"))


def table(runs: Iterable[Run]) -> list[str]:
    """Return a row of Markdown for each run."""
    rows = [
        "| run | H_long (kept) | H_think (kept) | H_short (kept) | think tokens (kept) | cut, % | p_long by level, % "
        "| auto by level, % | hard: auto, long, short, sampled long, % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        end = run.end
        kept = [f"{end.mean(name):.3g} ({100 * run.kept(name):.0f} %)" for name in list(PANELS)[:4]]
        hard = ", ".join(f"{100 * end.mean(f'hard_{mode}'):.1f}" for mode in ("auto", "long", "short", "sampled"))
        shares = f"{100 * end.mean('cut_long'):.1f} | {end.by_level('p_long')} | {end.by_level('right_auto')}"
        rows.append(f"| {run.name} | {' | '.join(kept)} | {shares} | {hard} |")
    return rows


def comparison(runs: Mapping[str, Run]) -> list[str]:
    """Return the difference of the whole method and plain GRPO at the last step, with its interval, in points."""
    method, plain = ([runs[f"{arm}-{seed}"].end for seed in SEEDS] for arm in (METHOD, PLAIN))
    rows = [f"{METHOD} less {PLAIN} at the last step, in points of a per cent:", ""]
    return [*rows, *(f"- {name}: {points.gap(method, plain, name)}" for name in COMPARED)]


def draw(runs: Iterable[Run], out: Path) -> None:
    """Draw each arm over its steps, as the mean of its seeds and a thin line for each."""
    arms: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        arms[points.arm_of(run.name)].append(run)
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
        for colour, (arm, seeds) in enumerate(arms.items()):
            style = {"color": COLOURS[colour % len(COLOURS)], "linestyle": ("-", "--")[colour // len(COLOURS) % 2]}
            steps, curves = seeds[0].measured_steps, [_curve(run, name) for run in seeds]
            for curve in curves:
                axes.plot(steps, curve, linewidth=0.6, alpha=0.5, **style)
            axes.plot(steps, np.mean(curves, axis=0), linewidth=1.6, label=arm, **style)
        axes.set(title=title, xlabel="step")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(out)


def _curve(run: Run, name: str) -> list[float]:
    return [run.points[step].mean(name) for step in run.measured_steps]


if __name__ == "__main__":
    main(*sys.argv[1:])
