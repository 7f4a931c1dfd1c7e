"""The dial: accuracy and tokens as the reasoning bias changes, from a run whose modes are `auto@BIAS`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.table import Table

from autotool_bench.report import page, svg, text
from autotool_bench.report.columns import read_run
from autotool_bench.report.metrics import Figures
from autotool_bench.report.plots import (
    FRONTIER,
    PERCENT,
    Series,
    coordinates,
    draw_legend,
    draw_pareto,
    draw_point,
    series_of,
    token_axis,
)
from autotool_bench.report.summary import METHOD, ModeReport, RunReport, finite, report_run
from autotool_bench.report.terminal import add, table_of
from autotool_bench.report.write import write_json, write_text
from autotool_core.errors import AutoToolError

Point = tuple[float, float]
CLOSE = 0.045
"""Share of an axis within which the names of two points would overlap."""
SIZE = (page.WIDE, 4.8)
TITLE = "Accuracy against generated tokens as the reasoning bias changes"
CAPTION = (
    "Each point is auto with the reasoning bias next to it, the log-odds added to the long decision token; bars are "
    "95 % intervals. The dotted steps are the Pareto frontier."
)


@dataclass(frozen=True, slots=True)
class DialStep:
    """A position of the dial: a reasoning bias and its figures."""

    bias: float
    figures: Figures


def write_dial(folder: Path, console: Console | None = None) -> None:
    """Print the dial's table; write dial.html, dial.svg and dial.json. Raises AutoToolError for a run without two biases."""
    run = read_run(folder)
    report = report_run(run, run.label)
    steps = dial_steps(report, folder)
    (console or Console()).print(_table(steps))
    write_json(
        folder / "dial.json", {"method": METHOD, "label": report.label, "steps": [finite(asdict(step)) for step in steps]}
    )
    draw = partial(draw_dial, steps=steps, forced=forced_modes(report))
    write_text(folder / "dial.svg", svg.standalone(draw, TITLE, describe(steps), SIZE))
    write_text(folder / "dial.html", dial_page(report, steps))


def dial_steps(report: RunReport, folder: Path) -> list[DialStep]:
    """Return the run's biases in rising order. Raises AutoToolError if there are fewer than two."""
    steps = [DialStep(float(bias), mode.figures) for mode in report.modes if (bias := _bias(mode)) is not None]
    if len(steps) < 2:
        raise AutoToolError(f"{folder} has fewer than two reasoning biases: make the run with `autotool bench dial`.")
    return sorted(steps, key=lambda step: step.bias)


def _bias(report: ModeReport) -> str | None:
    mode, _, bias = report.mode.partition("@")
    return bias if mode == "auto" and bias else None


def forced_modes(report: RunReport) -> list[Series]:
    """Return the forced modes that the run has, long and short, for comparison."""
    return [entry for entry in series_of([report]) if entry.report.mode in ("long", "short")]


def draw_dial(figure: Figure, steps: Sequence[DialStep], forced: Sequence[Series]) -> None:
    """Draw a line through the named biases, and the forced modes."""
    axes = figure.add_subplot()
    drawn = [step for step in steps if step.figures.generated_tokens is not None]
    draw_pareto(axes, [coordinates(step.figures) for step in drawn] + [coordinates(entry.report.figures) for entry in forced])
    points = [draw_point(axes, step.figures, "o", svg.AUTO) for step in drawn]
    axes.plot([x for x, _ in points], [y for _, y in points], color=svg.AUTO, lw=1.2, alpha=0.6)
    for entry in forced:
        draw_point(axes, entry.report.figures, entry.marker, entry.colour)
    token_axis(axes)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("accuracy")
    for name, point in names_of([signed(step.bias) for step in drawn], points, _span(axes)):
        axes.annotate(name, point, xytext=(7, 7), textcoords="offset points", color=svg.AUTO, fontweight="bold")
    draw_legend(figure, forced, [Line2D([], [], color=svg.AUTO, marker="o", label="auto, by reasoning bias"), FRONTIER])


def _span(axes: Axes) -> Point:
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    return right - left, high - low


def names_of(names: Sequence[str], points: Sequence[Point], span: Point) -> list[tuple[str, Point]]:
    """Return the names to write next to points; the names of points that are too close are joined at the last of them."""
    joined: list[tuple[str, Point]] = []
    for name, (x, y) in zip(names, points, strict=True):
        if joined and abs(x - joined[-1][1][0]) < CLOSE * span[0] and abs(y - joined[-1][1][1]) < CLOSE * span[1]:
            joined.append((f"{joined.pop()[0]}, {name}", (x, y)))
        else:
            joined.append((name, (x, y)))
    return joined


def signed(bias: float) -> str:
    """Format a bias with its sign."""
    return f"{bias:+g}".replace("-", "\N{MINUS SIGN}") if bias else "0"


def describe(steps: Sequence[DialStep]) -> str:
    """Describe the dial in words, for screen readers."""
    figures = ((step.bias, text.percent(step.figures.accuracy), text.tokens(step.figures.generated_tokens)) for step in steps)
    return "; ".join(f"bias {bias:g}: {accuracy} with {tokens} tokens" for bias, accuracy, tokens in figures) + "."


def _table(steps: Sequence[DialStep]) -> Table:
    table = table_of("Dial", ("bias", "items", "errors", "accuracy", "95 %", "tokens/item", "tokens/solved", "thinking"))
    for step in steps:
        f = step.figures
        accuracy = (text.percent(f.accuracy), text.percent_range(f.accuracy_interval))
        rates = (text.tokens(f.generated_tokens), text.cost(f.token_cost), text.percent(f.thinking_rate))
        add(table, signed(step.bias), str(f.items), str(f.errors), *accuracy, *rates)
    return table


def dial_page(report: RunReport, steps: Sequence[DialStep]) -> str:
    """Return the content of dial.html."""
    forced = forced_modes(report)
    drawing = svg.inline(partial(draw_dial, steps=steps, forced=forced), "dial", TITLE, describe(steps), SIZE)
    plot = page.Plot("dial", TITLE, Markup(drawing), CAPTION)  # noqa: S704 drawn by us
    values = {"title": f"The dial: {report.label}", "plot": plot, "forced": forced, "method": METHOD}
    return (
        page.environment()
        .get_template("dial.html.j2")
        .render(run=report, steps=steps, signed=signed, settings=page.settings, **values)
    )
