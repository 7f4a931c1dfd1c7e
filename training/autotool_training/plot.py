"""`autotool train plot`: the metrics of runs over their steps, side by side (the paper's figures of dynamics)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autotool_core import jsonl
from autotool_core.errors import AutoToolError

PANELS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "accuracy": ("accuracy", "share of right rollouts", ("accuracy",)),
    "thinking": ("thinking rate", "share of long rollouts", ("thinking_rate",)),
    "length": ("length", "tokens", ("length/long", "length/short")),
    "entropy": ("entropy", "nats a token", ("entropy/long", "entropy/short")),
    "reward": ("reward", "", ("reward",)),
    "beta": ("β of long", "", ("beta_long",)),
}
"""The panels: title, unit, and its metrics, of which the first is drawn solid and the second dashed."""
STYLES = ("-", "--")
# Distinct for all types of colour vision (Okabe and Ito, 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
METRICS = "metrics.jsonl"
MIN_STEPS = 2
SUFFIXES = (".svg", ".png", ".pdf")


@dataclass(frozen=True, slots=True)
class PlotRun:
    """The metrics of a run for each step."""

    label: str
    lines: Sequence[Mapping[str, float]]

    @classmethod
    def read(cls, folder: Path) -> "PlotRun":
        """Read a run's folder. Raises AutoToolError if it has no metrics of RL, or too few for a curve."""
        lines = list(jsonl.read(folder / METRICS))
        drawn = {metric for _, _, metrics in PANELS.values() for metric in metrics}
        steps = {line["step"] for line in lines if drawn & line.keys()}
        if not steps:
            raise AutoToolError(
                f"{folder} holds no {METRICS} of RL: name the folder of a run of `autotool train rl` that has made a step."
            )
        if len(steps) < MIN_STEPS:
            raise AutoToolError(
                f"{folder} has the metrics of one step, and a curve needs {MIN_STEPS}: the values are in {folder / METRICS}."
            )
        return cls(str(folder), lines)

    def series(self, metric: str, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps and the metric's running mean over a window of steps; empty if the run does not log the metric.

        The window of a short run is smaller, so that several points are left.
        """
        points = [(line["step"], line[metric]) for line in self.lines if metric in line]
        steps, values = (np.array([point[axis] for point in points]) for axis in (0, 1))
        width = max(1, min(window, 2 * len(values) // 3))
        return steps[width - 1 :], np.convolve(values, np.ones(width) / width, "valid") if len(values) else values


def draw(folders: Sequence[Path], out: Path, window: int = 10) -> None:
    """Draw the runs' dynamics into a file; its suffix gives the format.

    Raises AutoToolError for an unknown format, and for a folder without a run of RL.
    """
    if out.suffix not in SUFFIXES:
        raise AutoToolError(f"{out}: give it a name that ends in {', '.join(SUFFIXES)}.")
    if len(folders) > len(COLOURS):
        raise AutoToolError(f"{len(folders)} runs are more than there are colours: draw at most {len(COLOURS)} at once.")
    runs = [PlotRun.read(folder) for folder in folders]
    out.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for axes, panel in zip(figure.subplots(2, 3).flat, PANELS.values(), strict=True):
        _panel(axes, panel, runs, window)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(out)


def _panel(axes: Axes, panel: tuple[str, str, tuple[str, ...]], runs: Sequence[PlotRun], window: int) -> None:
    title, unit, metrics = panel
    for index, run in enumerate(runs):
        for style, metric in zip(STYLES, metrics, strict=False):
            steps, values = run.series(metric, window)
            axes.plot(steps, values, style, color=COLOURS[index % len(COLOURS)], label=run.label, linewidth=1.4)
    note = " (long solid, short dashed)" if len(metrics) > 1 else ""
    axes.set(title=title + note, xlabel="step", ylabel=unit)
    axes.spines[["top", "right"]].set_visible(False)
