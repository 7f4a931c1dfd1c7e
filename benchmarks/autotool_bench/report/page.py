"""The page: one file with its plots inline, nothing to run and nothing to fetch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autotool_bench.report import official, plots, svg, text
from autotool_bench.report.oracle import Reliability
from autotool_bench.report.plots import Series, series_of
from autotool_bench.report.summary import METHOD, RunReport

WIDE, HALF = 8.6, 5.0
"""Widths of drawings in inches."""
FILTERS = {
    "percent": text.percent,
    "percent_range": text.percent_range,
    "points": text.points,
    "tokens": text.tokens,
    "cost": text.cost,
    "range": text.range_of,
    "factor": text.factor,
    "acu": text.acu,
    "seconds": text.seconds,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and what is said below it."""

    name: str
    title: str
    svg: Markup
    caption: str


@cache
def environment() -> Environment:
    """Templates that escape whatever is put into them."""
    made = Environment(
        loader=PackageLoader("autotool_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    return made


def report_page(runs: Sequence[RunReport]) -> str:
    """report.html."""
    series = series_of(runs)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            runs=runs,
            title=_title(runs),
            method=METHOD,
            series=series,
            headlines=[sentence for run in runs if (sentence := headline(run)) is not None],
            categories=_categories(runs),
            plots={plot.name: plot for plot in _plots(runs, series)},
            official_names=official.FIGURES,
            settings=settings,
        )
    )


def _title(runs: Sequence[RunReport]) -> str:
    suites = {str(run.about["suite"]): None for run in runs if run.about.get("suite")}
    return " and ".join(suites) or "benchmark"


def headline(run: RunReport) -> str | None:
    """What choosing brought, in a sentence; None for a run that lacks auto or long."""
    auto, long = run.mode("auto"), run.mode("long")
    if auto is None or long is None or not auto.figures.generated_tokens or not long.figures.generated_tokens:
        return None
    share = auto.figures.generated_tokens / long.figures.generated_tokens
    difference = auto.figures.accuracy - long.figures.accuracy
    return (
        f"{run.label}: auto solves {text.percent(auto.figures.accuracy)} of the items, {text.points(difference)} points "
        f"against long, with {text.percent(share)} of the generated tokens an item that long takes."
    )


def settings(run: RunReport) -> Mapping[str, str]:
    """What the run was made with, for reading."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in run.about.items()
    }


def _categories(runs: Sequence[RunReport]) -> list[str]:
    return list({name: None for run in runs for name in run.categories})


def _plots(runs: Sequence[RunReport], series: Sequence[Series]) -> list[Plot]:
    rows = 1.2 + 0.36 * len(series)
    return [
        _plot(
            "frontier",
            "Accuracy against generated tokens",
            "Up and to the left is better. Bars are 95 % intervals; the dotted steps join what nothing else beats in both.",
            draw=partial(plots.frontier, series=series),
            size=(WIDE, 4.4),
            spoken=plots.spoken(series),
        ),
        _by_category(runs, series),
        _plot(
            "composition",
            "What the tokens are",
            "Mean generated tokens of a served item.",
            draw=partial(plots.composition, series=series),
            size=(HALF, rows),
        ),
        _plot(
            "latency",
            "Latency",
            "From request to whole answer, all turns of an item: the marker is p50, the bar ends at p90, the line at p99.",
            draw=partial(plots.latency, series=series),
            size=(HALF, rows),
        ),
        *(_reliability(run, run.reliability, at) for at, run in enumerate(runs) if run.reliability is not None),
    ]


def _plot(name: str, title: str, caption: str, *, draw: svg.Draw, size: tuple[float, float], spoken: str = "") -> Plot:
    return Plot(name, title, Markup(svg.inline(draw, name, title, spoken or caption, size)), caption)  # noqa: S704 drawn by us


def _by_category(runs: Sequence[RunReport], series: Sequence[Series]) -> Plot:
    names = _categories(runs)
    height = 1.2 + len(names) * max(0.3, 0.13 * len(series))
    caption = "Dots are accuracy (left, with 95 % intervals) and thinking rate (right), where the server tells it."
    return _plot(
        "categories", "By category", caption, draw=partial(plots.categories, series=series, names=names), size=(WIDE, height)
    )


def _reliability(run: RunReport, curve: Reliability, at: int) -> Plot:
    caption = (
        f"{curve.items} items that exactly one of the forced modes solves; expected calibration error "
        f"{curve.calibration_error:.3f}. On the diagonal, p_long is the chance that long is the one."
    )
    title = f"Does p_long know? {run.label}"
    return _plot(f"reliability-{at}", title, caption, draw=partial(plots.reliability, curve=curve), size=(HALF, 4.2))
