"""The report's drawings: each fills a matplotlib figure from a report's data."""

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
    """A mode of a run, and how it is drawn: colour by mode, marker its own."""

    label: str
    report: ModeReport
    colour: str
    marker: str


def series_of(runs: Sequence[RunReport]) -> list[Series]:
    """Every mode of every run."""
    pairs = [(run, mode) for run in runs for mode in run.modes]
    return [
        Series(_name(run, mode, runs), mode, COLOURS.get(mode.mode.partition("@")[0], svg.OTHER), MARKERS[at % len(MARKERS)])
        for at, (run, mode) in enumerate(pairs)
    ]


def _name(run: RunReport, mode: ModeReport, runs: Sequence[RunReport]) -> str:
    return short(mode.mode if len(runs) == 1 else f"{run.label} · {mode.mode}")


def frontier(figure: Figure, series: Sequence[Series]) -> None:
    """Accuracy against mean generated tokens, with intervals, and the Pareto frontier."""
    axes = figure.add_subplot()
    drawn = [one for one in series if one.report.figures.generated_tokens is not None]
    draw_pareto(axes, [place(one.report.figures) for one in drawn])
    for one in drawn:
        draw_point(axes, one.report.figures, one.marker, one.colour)
    token_axis(axes)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("accuracy")
    draw_legend(figure, drawn, [FRONTIER])


def draw_point(axes: Axes, figures: Figures, marker: str, colour: str) -> tuple[float, float]:
    """A mode with its two intervals; where it stands."""
    x, y = place(figures)
    across, up = reach(figures.generated_interval, x), reach(figures.accuracy_interval, y, 100)
    axes.errorbar([x], [y], xerr=across, yerr=up, fmt=marker, color=colour, ms=9, mec=svg.PAPER, elinewidth=1.4, zorder=3)
    return x, y


def place(figures: Figures) -> tuple[float, float]:
    """Where a mode stands: mean generated tokens, accuracy in per cent."""
    return figures.generated_tokens or 0.0, 100 * figures.accuracy


def reach(interval: Interval | None, value: float, unit: float = 1.0) -> tuple[list[float], list[float]] | None:
    """An error bar's lengths; a percentile interval may leave the figure itself out by a hair."""
    if interval is None:
        return None
    return [max(0.0, value - unit * interval.low)], [max(0.0, unit * interval.high - value)]


def token_axis(axes: Axes) -> None:
    """Mean generated tokens along x, from 0."""
    axes.set_xlim(left=0)
    axes.margins(y=0.15)
    axes.set_xlabel("mean generated tokens an item")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def draw_pareto(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """What is reached at most with so many tokens, as steps."""
    best = [places[at] for at in pareto(places)]
    if best:
        axes.step(*zip(*best, strict=True), where="post", color=svg.MUTED, ls=":", lw=1.6, zorder=2)


def draw_legend(figure: Figure, series: Sequence[Series], more: Sequence[Line2D] = ()) -> None:
    """Every series and what else is drawn, below the plot."""
    handles = [Line2D([], [], color=one.colour, marker=one.marker, ls="", ms=7, label=one.label) for one in series]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=3 if len(handles) > 4 else len(handles) + 1)


def categories(figure: Figure, series: Sequence[Series], names: Sequence[str]) -> None:
    """Accuracy with its interval and thinking rate, category by category."""
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for at, one in enumerate(series):
        offset = 0.6 * ((at + 0.5) / len(series) - 0.5)
        _category_dots(left, right, one, names, offset)
    left.set_yticks(range(len(names)), [short(name, 28) for name in names])
    left.set_ylim(len(names) - 0.5, -0.5)
    for axes, label in ((left, "accuracy"), (right, "thinking rate")):
        axes.set_xlim(-3, 103)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.tick_params(axis="y", length=0)
    draw_legend(figure, series)


def _category_dots(left: Axes, right: Axes, one: Series, names: Sequence[str], offset: float) -> None:
    fmt, colour = one.marker, one.colour
    for at, name in enumerate(names):
        figures = one.report.categories.get(name)
        if figures is None:
            continue
        value, bounds = 100 * figures.accuracy, reach(figures.accuracy_interval, 100 * figures.accuracy, 100)
        left.errorbar([value], [at + offset], xerr=bounds, fmt=fmt, color=colour, ms=5, elinewidth=1.2)
        if figures.thinking_rate is not None:
            right.plot([100 * figures.thinking_rate], [at + offset], fmt, color=colour, ms=5)


def composition(figure: Figure, series: Sequence[Series]) -> None:
    """What an item's generated tokens are: reasoning, content, and the rest."""
    axes = figure.add_subplot()
    for at, one in enumerate(series):
        left = 0.0
        for width, colour, hatch in _parts(one.report.figures):
            axes.barh(at, width, left=left, height=0.62, color=colour, hatch=hatch, edgecolor=svg.PAPER, lw=0.8)
            left += width
    _rows_axis(axes, series)
    token_axis(axes)
    kinds = (("reasoning", svg.LONG, ""), ("content", svg.SHORT, ""), ("decision or not told apart", svg.GRID, "///"))
    handles = [axes.barh(0, 0, color=colour, hatch=hatch, edgecolor=svg.PAPER, label=name) for name, colour, hatch in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)


def _parts(figures: Figures) -> list[tuple[float, str, str]]:
    reasoning, content = figures.reasoning_tokens or 0.0, figures.content_tokens or 0.0
    rest = max(0.0, (figures.generated_tokens or 0.0) - reasoning - content)
    return [(reasoning, svg.LONG, ""), (content, svg.SHORT, ""), (rest, svg.GRID, "///")]


def latency(figure: Figure, series: Sequence[Series]) -> None:
    """p50, p90 and p99 of an item's latency."""
    axes = figure.add_subplot()
    for at, one in enumerate(series):
        times = one.report.figures.latency
        if times is not None:
            axes.plot([times.p50, times.p99], [at, at], color=one.colour, lw=1.4)
            axes.plot([times.p50, times.p90], [at, at], color=one.colour, lw=5, solid_capstyle="butt")
            axes.plot([times.p50], [at], one.marker, color=one.colour, ms=9, mec=svg.PAPER)
            axes.plot([times.p99], [at], "|", color=one.colour, ms=10, mew=1.6)
    _rows_axis(axes, series)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds an item")


def _rows_axis(axes: Axes, series: Sequence[Series]) -> None:
    axes.set_yticks(range(len(series)), [one.label for one in series])
    axes.set_ylim(len(series) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def reliability(figure: Figure, curve: Reliability) -> None:
    """The share of items that need long against p_long, and how many items stand behind each point."""
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=svg.MUTED, ls=":", lw=1.4)
    for part in curve.bins:
        bounds = reach(part.interval, part.long_share)
        top.errorbar(
            [part.p_long], [part.long_share], yerr=bounds, fmt="o", color=svg.AUTO, ms=8, mec=svg.PAPER, elinewidth=1.4
        )
    top.set_ylim(-0.04, 1.04)
    top.set_ylabel("only long solves")
    top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}".replace("%", " %")))
    _counts(below, curve.bins)


def _counts(axes: Axes, bins: Sequence[Bin]) -> None:
    lows = np.array([part.low for part in bins])
    widths = np.array([part.high - part.low for part in bins])
    axes.bar(lows, [part.items for part in bins], widths, align="edge", color=svg.AUTO, edgecolor=svg.PAPER)
    axes.set_xlim(-0.02, 1.02)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel("items")
    axes.set_xlabel("p_long of the first turn")


def spoken(series: Sequence[Series]) -> str:
    """The frontier in words, for those who cannot see it."""
    told = ((one.label, one.report.figures.accuracy, one.report.figures.generated_tokens or 0) for one in series)
    return "; ".join(f"{label}: {percent(accuracy)} with {tokens:.0f} tokens an item" for label, accuracy, tokens in told) + "."
