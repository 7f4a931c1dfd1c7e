"""The report's plots: each function fills a matplotlib figure from a report's data."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from autotool_bench.report import svg
from autotool_bench.report.metrics import Figures, pareto
from autotool_bench.report.oracle import Bin, Reliability
from autotool_bench.report.summary import ModeReport, RunReport
from autotool_bench.report.text import RUN_LENGTH, percent, short_names
from autotool_core.intervals import Interval

COLOURS = {"auto": svg.AUTO, "long": svg.LONG, "short": svg.SHORT}
MARKERS = "osD^vPX*<>hd"
FRONTIER = Line2D([], [], color=svg.MUTED, ls=":", label="Pareto frontier")
COIN_TOSS = Line2D([], [], color=svg.INK, ls="--", lw=1.1, label="coin toss between short and long")
WIDE, HALF, NARROW = 8.6, 5.0, 3.9
"""Widths of plots in inches: a page's whole column, half of it, and a phone, on which a point is 1.3 pixels."""
KINDS = ("reasoning", "content", "decision or unknown")
"""Kinds of generated tokens."""
PERCENT = FuncFormatter(lambda value, _: f"{value:g} %")


@dataclass(frozen=True, slots=True)
class Series:
    """A mode of a run with its colour, which depends on the mode, and its marker, which is unique."""

    run: str
    """Label of the run."""
    label: str
    report: ModeReport
    colour: str
    marker: str


def series_of(runs: Sequence[RunReport]) -> list[Series]:
    """Return every mode of every run."""
    return [
        Series(
            run=run.label,
            label=label,
            report=mode,
            colour=COLOURS.get(mode.mode.partition("@")[0], svg.OTHER),
            marker=MARKERS[index % len(MARKERS)],
        )
        for index, (run, mode, label) in enumerate(_labelled(runs))
    ]


def _labelled(runs: Sequence[RunReport]) -> Iterator[tuple[RunReport, ModeReport, str]]:
    """Yield every mode of every run with a label that no other has."""
    several = len(runs) > 1
    names = short_names([run.label for run in runs], RUN_LENGTH)
    for run, name in zip(runs, names, strict=True):
        modes = short_names([mode.mode for mode in run.modes], 12 if several else 40)
        for mode, shown in zip(run.modes, modes, strict=True):
            yield run, mode, f"{name} · {shown}" if several else shown


def warnings_of(series: Sequence[Series]) -> list[str]:
    """Return what makes figures of a mode misleading, with the mode's label."""
    return [f"{entry.label}: {entry.report.warning}" for entry in series if entry.report.warning]


def is_narrow(figure: Figure) -> bool:
    """Return whether a figure is drawn for a phone."""
    return figure.get_figwidth() <= NARROW


def frontier(figure: Figure, series: Sequence[Series], items: int) -> None:
    """Draw accuracy against mean generated tokens, with intervals, the Pareto frontier and the coin toss of each run.

    Both lines join only modes that attempted all of the items: a mode that attempted fewer was not asked the same.
    """
    axes = figure.add_subplot()
    drawn = [entry for entry in series if entry.report.figures.generated_tokens is not None]
    whole = [entry for entry in drawn if entry.report.figures.items == items]
    draw_pareto(axes, [coordinates(entry.report.figures) for entry in whole])
    tossed = [draw_coin_toss(axes, _forced(whole, run)) for run in dict.fromkeys(entry.run for entry in whole)]
    for entry in drawn:
        draw_point(axes, entry.report.figures, entry.marker, entry.colour)
    accuracy_axes(axes)
    draw_legend(figure, drawn, [FRONTIER, *([COIN_TOSS] if any(tossed) else [])])


def _forced(series: Sequence[Series], run: str) -> list[Figures]:
    """Return the figures of a run's forced modes, as far as it has them."""
    return [entry.report.figures for entry in series if entry.run == run and entry.report.mode in ("short", "long")]


def draw_coin_toss(axes: Axes, forced: Sequence[Figures]) -> bool:
    """Draw the straight line between the forced modes; return False if they are not both there."""
    if len(forced) != 2:
        return False
    xs, ys = zip(*(coordinates(figures) for figures in forced), strict=True)
    axes.plot(xs, ys, color=svg.INK, ls="--", lw=1.1, zorder=2)
    return True


def accuracy_axes(axes: Axes) -> None:
    """Set up the axes of accuracy in per cent against mean generated tokens."""
    token_axis(axes)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("accuracy")


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
    handles += more
    columns = legend_columns([str(handle.get_label()) for handle in handles], figure.get_figwidth())
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return the number of columns of a legend that fit into a width in inches."""
    widest = 0.55 + 0.078 * max(map(len, labels), default=0)
    return max(1, min(len(labels), int(width / widest)))


def legend_height(labels: Sequence[str], width: float) -> float:
    """Return the height of a legend in inches."""
    return 0.2 + 0.21 * math.ceil(len(labels) / legend_columns(labels, width))


def categories(figure: Figure, series: Sequence[Series], names: Sequence[str]) -> None:
    """Draw accuracy with its interval and thinking rate, by category: side by side, or one below the other on a phone."""
    narrow = is_narrow(figure)
    first, second = figure.subplots(2, 1) if narrow else figure.subplots(1, 2, width_ratios=(3, 2))
    for index, entry in enumerate(series):
        offset = 0.6 * ((index + 0.5) / len(series) - 0.5)
        _category_dots(first, second, entry, names, offset)
    for axes, label, length in ((first, "accuracy", 18 if narrow else 28), (second, "thinking rate", 18 if narrow else 0)):
        axes.set_yticks(range(len(names)), short_names(names, length) if length else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
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
    _rows_axis(figure, axes, series)
    token_axis(axes)
    kinds = zip(KINDS, (svg.LONG, svg.SHORT, svg.GRID), ("", "", "///"), strict=True)
    handles = [axes.barh(0, 0, color=colour, hatch=hatch, edgecolor=svg.PAPER, label=name) for name, colour, hatch in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(KINDS, figure.get_figwidth()))


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
    _rows_axis(figure, axes, series)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds per item")


def _rows_axis(figure: Figure, axes: Axes, series: Sequence[Series]) -> None:
    length = 16 if is_narrow(figure) else 28
    parts = list(dict.fromkeys(part for entry in series for part in entry.label.split(" · ")))
    names = dict(zip(parts, short_names(parts, length), strict=True))
    labels = ["\n".join(names[part] for part in entry.label.split(" · ")) for entry in series]
    axes.set_yticks(range(len(series)), labels)
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
