"""The report's plots: each function fills a matplotlib figure from a report's data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from autotool_bench.report import svg
from autotool_bench.report.intervals import Interval
from autotool_bench.report.metrics import Figures, pareto
from autotool_bench.report.oracle import Bin, Reliability
from autotool_bench.report.summary import ModeReport, RunReport
from autotool_bench.report.text import percent, short

COLOURS = {"auto": svg.AUTO, "long": svg.LONG, "short": svg.SHORT}
MARKERS = "osD^vPX*<>hd"
FRONTIER = Line2D([], [], color=svg.MUTED, ls=":", label="Pareto frontier")
PERCENT = FuncFormatter(lambda value, _: f"{value:g} %")


@dataclass(frozen=True, slots=True)
class Series:
    """A mode of a run with its colour, which depends on the mode, and its marker, which is unique."""

    label: str
    report: ModeReport
    colour: str
    marker: str


def series_of(runs: Sequence[RunReport]) -> list[Series]:
    """Return every mode of every run."""
    pairs = [(run, mode) for run in runs for mode in run.modes]
    return [
        Series(_name(run, mode, runs), mode, COLOURS.get(mode.mode.partition("@")[0], svg.OTHER), MARKERS[index % len(MARKERS)])
        for index, (run, mode) in enumerate(pairs)
    ]


def _name(run: RunReport, mode: ModeReport, runs: Sequence[RunReport]) -> str:
    return short(mode.mode if len(runs) == 1 else f"{run.label} · {mode.mode}")


def frontier(figure: Figure, series: Sequence[Series]) -> None:
    """Draw accuracy against mean generated tokens, with intervals and the Pareto frontier."""
    axes = figure.add_subplot()
    drawn = [entry for entry in series if entry.report.figures.generated_tokens is not None]
    draw_pareto(axes, [coordinates(entry.report.figures) for entry in drawn])
    for entry in drawn:
        draw_point(axes, entry.report.figures, entry.marker, entry.colour)
    token_axis(axes)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("accuracy")
    draw_legend(figure, drawn, [FRONTIER])


def draw_point(axes: Axes, figures: Figures, marker: str, colour: str) -> tuple[float, float]:
    """Draw a mode with its two intervals; return its coordinates."""
    x, y = coordinates(figures)
    xerr, yerr = error_bar(figures.generated_interval, x), error_bar(figures.accuracy_interval, y, 100)
    axes.errorbar([x], [y], xerr=xerr, yerr=yerr, fmt=marker, color=colour, ms=9, mec=svg.PAPER, elinewidth=1.4, zorder=3)
    return x, y


def coordinates(figures: Figures) -> tuple[float, float]:
    """Return a mode's coordinates: mean generated tokens and accuracy in per cent."""
    return figures.generated_tokens or 0.0, 100 * figures.accuracy


def error_bar(interval: Interval | None, value: float, unit: float = 1.0) -> tuple[list[float], list[float]] | None:
    """Return the lengths of an error bar below and above the value; None without an interval."""
    if interval is None:
        return None
    # A percentile interval may exclude the figure itself by a small margin; a length must not be negative.
    return [max(0.0, value - unit * interval.low)], [max(0.0, unit * interval.high - value)]


def token_axis(axes: Axes) -> None:
    """Set up the x axis for mean generated tokens, from 0."""
    axes.set_xlim(left=0)
    axes.margins(y=0.15)
    axes.set_xlabel("mean generated tokens per item")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def draw_pareto(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Draw the Pareto frontier as steps."""
    best = [points[index] for index in pareto(points)]
    if best:
        axes.step(*zip(*best, strict=True), where="post", color=svg.MUTED, ls=":", lw=1.6, zorder=2)


def draw_legend(figure: Figure, series: Sequence[Series], more: Sequence[Line2D] = ()) -> None:
    """Draw a legend of every series and of further lines, below the plot."""
    handles = [Line2D([], [], color=entry.colour, marker=entry.marker, ls="", ms=7, label=entry.label) for entry in series]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=3 if len(handles) > 4 else len(handles) + 1)


def categories(figure: Figure, series: Sequence[Series], names: Sequence[str]) -> None:
    """Draw accuracy with its interval and thinking rate, by category."""
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for index, entry in enumerate(series):
        offset = 0.6 * ((index + 0.5) / len(series) - 0.5)
        _category_dots(left, right, entry, names, offset)
    left.set_yticks(range(len(names)), [short(name, 28) for name in names])
    left.set_ylim(len(names) - 0.5, -0.5)
    for axes, label in ((left, "accuracy"), (right, "thinking rate")):
        axes.set_xlim(-3, 103)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.tick_params(axis="y", length=0)
    draw_legend(figure, series)


def _category_dots(left: Axes, right: Axes, entry: Series, names: Sequence[str], offset: float) -> None:
    fmt, colour = entry.marker, entry.colour
    for index, name in enumerate(names):
        figures = entry.report.categories.get(name)
        if figures is None:
            continue
        value, bounds = 100 * figures.accuracy, error_bar(figures.accuracy_interval, 100 * figures.accuracy, 100)
        left.errorbar([value], [index + offset], xerr=bounds, fmt=fmt, color=colour, ms=5, elinewidth=1.2)
        if figures.thinking_rate is not None:
            right.plot([100 * figures.thinking_rate], [index + offset], fmt, color=colour, ms=5)


def composition(figure: Figure, series: Sequence[Series]) -> None:
    """Draw an item's generated tokens by type: reasoning, content and the rest."""
    axes = figure.add_subplot()
    for index, entry in enumerate(series):
        left = 0.0
        for width, colour, hatch in _parts(entry.report.figures):
            axes.barh(index, width, left=left, height=0.62, color=colour, hatch=hatch, edgecolor=svg.PAPER, lw=0.8)
            left += width
    _rows_axis(axes, series)
    token_axis(axes)
    kinds = (("reasoning", svg.LONG, ""), ("content", svg.SHORT, ""), ("decision or unknown", svg.GRID, "///"))
    handles = [axes.barh(0, 0, color=colour, hatch=hatch, edgecolor=svg.PAPER, label=name) for name, colour, hatch in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)


def _parts(figures: Figures) -> list[tuple[float, str, str]]:
    reasoning, content = figures.reasoning_tokens or 0.0, figures.content_tokens or 0.0
    rest = max(0.0, (figures.generated_tokens or 0.0) - reasoning - content)
    return [(reasoning, svg.LONG, ""), (content, svg.SHORT, ""), (rest, svg.GRID, "///")]


def latency(figure: Figure, series: Sequence[Series]) -> None:
    """Draw p50, p90 and p99 of an item's latency."""
    axes = figure.add_subplot()
    for index, entry in enumerate(series):
        times = entry.report.figures.latency
        if times is not None:
            axes.plot([times.p50, times.p99], [index, index], color=entry.colour, lw=1.4)
            axes.plot([times.p50, times.p90], [index, index], color=entry.colour, lw=5, solid_capstyle="butt")
            axes.plot([times.p50], [index], entry.marker, color=entry.colour, ms=9, mec=svg.PAPER)
            axes.plot([times.p99], [index], "|", color=entry.colour, ms=10, mew=1.6)
    _rows_axis(axes, series)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds per item")


def _rows_axis(axes: Axes, series: Sequence[Series]) -> None:
    axes.set_yticks(range(len(series)), [entry.label for entry in series])
    axes.set_ylim(len(series) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def reliability(figure: Figure, curve: Reliability) -> None:
    """Draw the share of items that need long against p_long, and the number of items of each point."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=svg.MUTED, ls=":", lw=1.4)
    for part in curve.bins:
        bounds = error_bar(part.interval, part.long_share)
        top.errorbar(
            [part.p_long], [part.long_share], yerr=bounds, fmt="o", color=svg.AUTO, ms=8, mec=svg.PAPER, elinewidth=1.4
        )
    top.set_ylim(-0.04, 1.04)
    top.set_ylabel("only long solves")
    top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}".replace("%", " %")))
    _counts(bottom, curve.bins)


def _counts(axes: Axes, bins: Sequence[Bin]) -> None:
    lows = np.array([part.low for part in bins])
    widths = np.array([part.high - part.low for part in bins])
    axes.bar(lows, [part.items for part in bins], widths, align="edge", color=svg.AUTO, edgecolor=svg.PAPER)
    axes.set_xlim(-0.02, 1.02)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel("items")
    axes.set_xlabel("p_long of the first turn")


def describe(series: Sequence[Series]) -> str:
    """Describe the frontier in words, for screen readers."""
    figures = ((entry.label, entry.report.figures.accuracy, entry.report.figures.generated_tokens or 0) for entry in series)
    return (
        "; ".join(f"{label}: {percent(accuracy)} with {tokens:.0f} tokens per item" for label, accuracy, tokens in figures)
        + "."
    )
