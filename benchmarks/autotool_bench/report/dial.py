"""The dial: accuracy and tokens as the reasoning bias moves, from a run whose modes are `auto@BIAS`."""

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
    draw_legend,
    draw_pareto,
    draw_point,
    place,
    series_of,
    token_axis,
)
from autotool_bench.report.summary import METHOD, ModeReport, RunReport, finite, report_run
from autotool_bench.report.terminal import add, table_of
from autotool_bench.report.write import write_json, write_text
from autotool_core.errors import AutoToolError

Point = tuple[float, float]
CLOSE = 0.045
"""Share of an axis within which two names would overlap."""
SIZE = (page.WIDE, 4.8)
TITLE = "Accuracy against generated tokens as the reasoning bias moves"
CAPTION = (
    "Each point is auto with the reasoning bias beside it, the log-odds added to the long decision token; bars are "
    "95 % intervals. The dotted steps join what nothing else beats in both."
)


@dataclass(frozen=True, slots=True)
class DialStep:
    """One position of the dial."""

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
    write_text(folder / "dial.svg", svg.standalone(draw, TITLE, spoken(steps), SIZE))
    write_text(folder / "dial.html", dial_page(report, steps))


def dial_steps(report: RunReport, folder: Path) -> list[DialStep]:
    """The run's biases, rising. Raises AutoToolError if there are fewer than two."""
    steps = [DialStep(float(bias), mode.figures) for mode in report.modes if (bias := _bias(mode)) is not None]
    if len(steps) < 2:
        raise AutoToolError(f"{folder} has fewer than two reasoning biases: make the run with `autotool bench dial`.")
    return sorted(steps, key=lambda step: step.bias)


def _bias(report: ModeReport) -> str | None:
    mode, _, bias = report.mode.partition("@")
    return bias if mode == "auto" and bias else None


def forced_modes(report: RunReport) -> list[Series]:
    """Long and short, where the run has them, to measure the dial by."""
    return [one for one in series_of([report]) if one.report.mode in ("long", "short")]


def draw_dial(figure: Figure, steps: Sequence[DialStep], forced: Sequence[Series]) -> None:
    """A line through the biases, each named, and the forced modes beside it."""
    axes = figure.add_subplot()
    drawn = [step for step in steps if step.figures.generated_tokens is not None]
    draw_pareto(axes, [place(step.figures) for step in drawn] + [place(one.report.figures) for one in forced])
    places = [draw_point(axes, step.figures, "o", svg.AUTO) for step in drawn]
    axes.plot([x for x, _ in places], [y for _, y in places], color=svg.AUTO, lw=1.2, alpha=0.6)
    for one in forced:
        draw_point(axes, one.report.figures, one.marker, one.colour)
    token_axis(axes)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("accuracy")
    for name, where in names_of([signed(step.bias) for step in drawn], places, _span(axes)):
        axes.annotate(name, where, xytext=(7, 7), textcoords="offset points", color=svg.AUTO, fontweight="bold")
    draw_legend(figure, forced, [Line2D([], [], color=svg.AUTO, marker="o", label="auto, by reasoning bias"), FRONTIER])


def _span(axes: Axes) -> Point:
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    return right - left, high - low


def names_of(names: Sequence[str], places: Sequence[Point], span: Point) -> list[tuple[str, Point]]:
    """Names to write beside points; those of neighbours too close for two names are joined at the last of them."""
    joined: list[tuple[str, Point]] = []
    for name, (x, y) in zip(names, places, strict=True):
        if joined and abs(x - joined[-1][1][0]) < CLOSE * span[0] and abs(y - joined[-1][1][1]) < CLOSE * span[1]:
            joined.append((f"{joined.pop()[0]}, {name}", (x, y)))
        else:
            joined.append((name, (x, y)))
    return joined


def signed(bias: float) -> str:
    """A bias with its sign."""
    return f"{bias:+g}".replace("-", "\N{MINUS SIGN}") if bias else "0"


def spoken(steps: Sequence[DialStep]) -> str:
    """The dial in words."""
    told = ((step.bias, text.percent(step.figures.accuracy), text.tokens(step.figures.generated_tokens)) for step in steps)
    return "; ".join(f"bias {bias:g}: {accuracy} with {tokens} tokens" for bias, accuracy, tokens in told) + "."


def _table(steps: Sequence[DialStep]) -> Table:
    table = table_of("Dial", ("bias", "items", "errors", "accuracy", "95 %", "tokens/item", "tokens/solved", "thinking"))
    for step in steps:
        f = step.figures
        accuracy = (text.percent(f.accuracy), text.percent_range(f.accuracy_interval))
        rates = (text.tokens(f.generated_tokens), text.cost(f.token_cost), text.percent(f.thinking_rate))
        add(table, signed(step.bias), str(f.items), str(f.errors), *accuracy, *rates)
    return table


def dial_page(report: RunReport, steps: Sequence[DialStep]) -> str:
    """dial.html."""
    forced = forced_modes(report)
    drawing = svg.inline(partial(draw_dial, steps=steps, forced=forced), "dial", TITLE, spoken(steps), SIZE)
    plot = page.Plot("dial", TITLE, Markup(drawing), CAPTION)  # noqa: S704 drawn by us
    values = {"title": f"The dial: {report.label}", "plot": plot, "forced": forced, "method": METHOD}
    return (
        page.environment()
        .get_template("dial.html.j2")
        .render(run=report, steps=steps, signed=signed, settings=page.settings, **values)
    )
