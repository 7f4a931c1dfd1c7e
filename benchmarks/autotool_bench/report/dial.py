"""The dial: accuracy and tokens as the reasoning bias changes, from a run whose modes are `auto@BIAS`, short and long."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.text import Text

from autotool_bench.report import page, svg, tables, terminal, text
from autotool_bench.report.bias import Choice, Position, choices, gain, largest_gain
from autotool_bench.report.columns import StoredRun, read_run
from autotool_bench.report.groups import Group, model_of
from autotool_bench.report.plots import (
    COIN_TOSS,
    FRONTIER,
    WIDE,
    Series,
    accuracy_axes,
    coordinates,
    draw_coin_toss,
    draw_legend,
    draw_pareto,
    draw_point,
    is_narrow,
    series_of,
    warnings_of,
)
from autotool_bench.report.summary import METHOD, RunReport, finite, report_run
from autotool_bench.report.write import write_json, write_text
from autotool_core.console import plain_console
from autotool_core.errors import AutoToolError

Point = tuple[float, float]
CLOSE, CLOSE_NARROW = (0.045, 0.045), (0.12, 0.07)
"""Shares of the two axes within which the names of two points would overlap, on a wide and on a narrow screen."""
MAX_LISTED = 3
"""Names of points that are written one after another where they would overlap."""
SIZE = (WIDE, 4.8)
TITLE = "Accuracy against generated tokens as the reasoning bias changes"
CAPTION = (
    "Each point is auto with the reasoning bias next to it, the log-odds added to the long decision token; bars are "
    "95 % intervals. The dashed line is what a coin toss between short and long gives: a point above it chooses better than "
    "chance. The dotted steps are the Pareto frontier."
)
NO_LINE = "The run has not both short and long, so the coin toss between them is not known: `autotool bench dial` runs them."
FORCED = {"short": "D", "long": "s"}
"""The forced modes and their markers."""


def write_dial(folder: Path, console: Console | None = None) -> None:
    """Print the dial's tables; write dial.html, dial.svg and dial.json. Raises AutoToolError for a run without two biases."""
    console = console or plain_console()
    run = read_run(folder)
    report = report_run(run, run.label)
    positions = dial_positions(run, report)
    show(report, positions, console)
    write_json(folder / "dial.json", dial_json(report, positions))
    draw = partial(draw_dial, positions=positions, forced=forced_modes(report))
    write_text(folder / "dial.svg", svg.standalone(draw, TITLE, describe(positions), SIZE))
    write_text(folder / "dial.html", dial_page(report, positions))
    console.print(Text(f"\n{folder / 'dial.html'}"), soft_wrap=True)


def dial_positions(run: StoredRun, report: RunReport) -> list[Position]:
    """Return the run's biases in rising order, between short and long. Raises AutoToolError for fewer than two biases."""
    found: list[Position] = []
    for mode in report.modes:
        name, _, bias = mode.mode.partition("@")
        if name == "auto" and bias:
            found.append(Position(mode.mode, float(bias), mode.figures, gain(run.items, mode.mode)))
    if len(found) < 2:
        raise AutoToolError(f"{run.folder} has fewer than two reasoning biases: make the run with `autotool bench dial`.")
    short, long = ([Position(m.mode, None, m.figures, None) for m in report.modes if m.mode == name] for name in FORCED)
    return [*short, *sorted(found, key=lambda position: position.bias or 0.0), *long]


def dial_json(report: RunReport, positions: Sequence[Position]) -> dict[str, Any]:
    """Return the content of dial.json: every bias, the forced modes, and which position to take for a cost."""
    taken = [
        {"mode": choice.position.mode, "from_tokens": choice.position.tokens, "until_tokens": choice.until}
        for choice in choices(positions)
    ]
    steps = [asdict(position) for position in positions if position.bias is not None]
    forced = [asdict(position) for position in positions if position.bias is None]
    return {"method": METHOD, "label": report.label, **finite({"steps": steps, "forced": forced, "choices": taken})}


def forced_modes(report: RunReport) -> list[Series]:
    """Return the forced modes that the run has, long and short, for comparison."""
    return [replace(entry, marker=FORCED[entry.report.mode]) for entry in series_of([report]) if entry.report.mode in FORCED]


def draw_dial(figure: Figure, positions: Sequence[Position], forced: Sequence[Series]) -> None:
    """Draw a line through the named biases, the forced modes and the straight line between them."""
    axes = figure.add_subplot()
    steps = [position for position in positions if position.bias is not None and position.figures.generated_tokens is not None]
    draw_pareto(axes, [coordinates(step.figures) for step in steps] + [coordinates(entry.report.figures) for entry in forced])
    tossed = draw_coin_toss(axes, [entry.report.figures for entry in forced])
    points = [draw_point(axes, step.figures, "o", svg.AUTO) for step in steps]
    axes.plot([x for x, _ in points], [y for _, y in points], color=svg.AUTO, lw=1.2, alpha=0.6)
    for entry in forced:
        draw_point(axes, entry.report.figures, entry.marker, entry.colour)
    accuracy_axes(axes)
    close = _distance(axes, CLOSE_NARROW if is_narrow(figure) else CLOSE)
    for name, point in names_of([signed(step.bias or 0.0) for step in steps], points, close):
        _annotate(axes, name, point)
    draw_legend(figure, forced, [DIAL_LINE, FRONTIER, *([COIN_TOSS] if tossed else [])])


def _annotate(axes: Axes, name: str, point: Point) -> None:
    """Write a name next to a point, on the side on which the axes have room for it."""
    is_right = point[0] > sum(axes.get_xlim()) / 2
    offset, side = ((-7, 7), "right") if is_right else ((7, 7), "left")
    style = {"color": svg.AUTO, "fontweight": "bold", "zorder": 5}
    axes.annotate(name, point, xytext=offset, textcoords="offset points", ha=side, **style)


DIAL_LINE = Line2D([], [], color=svg.AUTO, marker="o", label="auto, by reasoning bias")


def _distance(axes: Axes, shares: Point) -> Point:
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    return shares[0] * (right - left), shares[1] * (high - low)


def names_of(names: Sequence[str], points: Sequence[Point], close: Point) -> list[tuple[str, Point]]:
    """Return the names to write next to points; the names of points that are too close are joined at the last of them."""
    joined: list[tuple[list[str], Point]] = []
    for name, (x, y) in zip(names, points, strict=True):
        if joined and abs(x - joined[-1][1][0]) < close[0] and abs(y - joined[-1][1][1]) < close[1]:
            joined.append(([*joined.pop()[0], name], (x, y)))
        else:
            joined.append(([name], (x, y)))
    return [(_joined(group), point) for group, point in joined]


def _joined(names: Sequence[str]) -> str:
    """Return the names as a list, or from the first to the last: a calibration has so many that the plot would have no room."""
    return ", ".join(names) if len(names) <= MAX_LISTED else f"{names[0]} to {names[-1]}"


def signed(bias: float) -> str:
    """Format a bias with its sign."""
    return f"{bias:+g}".replace("-", "\N{MINUS SIGN}") if bias else "0"


def named(position: Position) -> str:
    """Name a position: its bias, or the forced mode."""
    return position.mode if position.bias is None else f"bias {signed(position.bias)}"


def describe(positions: Sequence[Position]) -> str:
    """Describe the dial in words, for screen readers."""
    figures = (
        f"{named(p)}: {text.percent(p.figures.accuracy)} with {text.tokens(p.figures.generated_tokens)} tokens"
        for p in positions
    )
    return "; ".join(figures) + "."


def spend(choice: Choice) -> str:
    """Name the cost of a choice: "45.0 to 80.2"."""
    until = "and more" if math.isinf(choice.until) else f"to {text.tokens(choice.until)}"
    return f"{text.tokens(choice.position.tokens)} {until}"


def advice(positions: Sequence[Position]) -> str:
    """Say which bias gains most over a coin toss."""
    best = largest_gain(positions)
    if best is None or best.gain is None:
        return NO_LINE
    interval = text.points_range(best.gain.interval)
    value = text.points(best.gain.value)
    if best.gain.value <= 0:
        return f"No bias is above a coin toss between short and long; {named(best)} is nearest, at {value} points ({interval})."
    doubt = " With this many items, the gain may be chance." if best.gain.interval.low <= 0 else ""
    return (
        f"The {named(best)} gains most over a coin toss between short and long: {value} points "
        f"(95 % interval {interval}) at {text.tokens(best.figures.generated_tokens)} generated tokens per item.{doubt}"
    )


def show(report: RunReport, positions: Sequence[Position], console: Console) -> None:
    """Print the dial's two tables, the advice, and what makes figures misleading."""
    console.print(terminal.heading([report]))
    dial = terminal.table_of("\nDial", ("position", "accuracy", "95 %", "tokens", "tokens/solved", "thinking", "over toss"))
    for position in positions:
        f = position.figures
        shown = (text.percent(f.accuracy), text.percent_range(f.accuracy_interval), text.tokens(f.generated_tokens))
        toss = text.points(position.gain.value) if position.gain else ""
        terminal.add(dial, named(position), *shown, text.cost(f.token_cost), text.percent(f.thinking_rate), toss)
    take = terminal.table_of("\nThe bias to take for a cost", ("mean tokens per item", "take", "accuracy", "over coin toss"))
    for choice in choices(positions):
        p = choice.position
        toss = text.points(p.gain.value) if p.gain else ""
        terminal.add(take, spend(choice), named(p), text.percent(p.figures.accuracy), toss)
    console.print(dial, take, Text(f"\n{advice(positions)}"), sep="\n")
    terminal.show_warnings(series_of([report]), console)


def dial_page(report: RunReport, positions: Sequence[Position]) -> str:
    """Return the content of dial.html."""
    forced = forced_modes(report)
    labels = [*(entry.label for entry in forced), *(str(line.get_label()) for line in (DIAL_LINE, FRONTIER, COIN_TOSS))]
    plot = page.draw_plot(
        "dial",
        TITLE,
        CAPTION,
        draw=partial(draw_dial, positions=positions, forced=forced),
        sizes=page.with_legend(labels, 4.2, 3.6),
        description=describe(positions),
    )
    best = largest_gain(positions)
    return page.page_of(
        "dial.html.j2",
        title=f"The dial of {model_of(report)} on {Group((report,)).title}",
        measured=tables.measured_table([Group((report,))]),
        advice=advice(positions),
        example=None if best is None else best.bias,
        choices=_choice_table(positions),
        plot=plot,
        positions=_position_table(positions),
        warnings=warnings_of(series_of([report])),
        run=report,
    )


def _choice_table(positions: Sequence[Position]) -> tables.Table:
    rows = [
        tables.Row(spend(choice), None, (tables.Cell(named(choice.position), kind="strong"), *_position_cells(choice.position)))
        for choice in choices(positions)
    ]
    caption = "For each cost, the position that solves most: the mean generated tokens per item that you can spend"
    return tables.Table(caption, ("tokens per item", "take", "accuracy", "over coin toss"), tuple(rows))


def _position_cells(position: Position) -> tuple[tables.Cell, ...]:
    f, toss = position.figures, position.gain
    above = (
        tables.Cell(text.points(toss.value), (text.points_range(toss.interval),))
        if toss
        else tables.Cell("n/a", kind="missing")
    )
    return tables.Cell(text.percent(f.accuracy), (text.percent_range(f.accuracy_interval),)), above


def _position_table(positions: Sequence[Position]) -> tables.Table:
    columns = ("position", "items", "accuracy", "generated tokens per item", "token cost per solved task", "thinking rate")
    rows: list[tables.Row] = []
    for position in positions:
        f = position.figures
        items, rate = tables.Cell(f"{f.items:,}", (f"{f.solved:,} solved",)), tables.number(text.percent(f.thinking_rate))
        errors = tables.Cell(f"{f.errors:,}", kind="bad" if f.errors else "")
        cells = (items, *tables.cost_cells(f), rate, _position_cells(position)[1], errors)
        rows.append(tables.Row(named(position), position.mode, cells))
    caption = "Every position of the dial; below a figure its 95 % interval"
    return tables.Table(caption, (*columns, "over coin toss (points)", "errors"), tuple(rows))
