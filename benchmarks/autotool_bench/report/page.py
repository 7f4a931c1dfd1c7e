"""The report's page: one HTML file with inline plots, without scripts and without external resources."""

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
"""Widths of plots in inches."""
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
    """A drawing with its title and caption."""

    name: str
    title: str
    svg: Markup
    caption: str


@cache
def environment() -> Environment:
    """Return the templates, which escape all values."""
    templates = Environment(
        loader=PackageLoader("autotool_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= FILTERS
    return templates


def report_page(runs: Sequence[RunReport]) -> str:
    """Return the content of report.html."""
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
    """Return a sentence on auto against long; None for a run that lacks one of them."""
    auto, long = run.mode("auto"), run.mode("long")
    if auto is None or long is None or not auto.figures.generated_tokens or not long.figures.generated_tokens:
        return None
    share = auto.figures.generated_tokens / long.figures.generated_tokens
    difference = auto.figures.accuracy - long.figures.accuracy
    return (
        f"{run.label}: auto solves {text.percent(auto.figures.accuracy)} of the items, {text.points(difference)} points "
        f"against long, with {text.percent(share)} of long's generated tokens per item."
    )


def settings(run: RunReport) -> Mapping[str, str]:
    """Return the run's settings as text."""
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
            "Up and to the left is better. Bars are 95 % intervals; the dotted steps are the Pareto frontier.",
            draw=partial(plots.frontier, series=series),
            size=(WIDE, 4.4),
            description=plots.describe(series),
        ),
        _by_category(runs, series),
        _plot(
            "composition",
            "Generated tokens by type",
            "Mean generated tokens of a served item.",
            draw=partial(plots.composition, series=series),
            size=(HALF, rows),
        ),
        _plot(
            "latency",
            "Latency",
            "From request to complete answer, all turns of an item: the marker is p50, the bar ends at p90, the line at p99.",
            draw=partial(plots.latency, series=series),
            size=(HALF, rows),
        ),
        *(_reliability(run, run.reliability, index) for index, run in enumerate(runs) if run.reliability is not None),
    ]


def _plot(name: str, title: str, caption: str, *, draw: svg.Draw, size: tuple[float, float], description: str = "") -> Plot:
    return Plot(name, title, Markup(svg.inline(draw, name, title, description or caption, size)), caption)  # noqa: S704 drawn by us


def _by_category(runs: Sequence[RunReport], series: Sequence[Series]) -> Plot:
    names = _categories(runs)
    height = 1.2 + len(names) * max(0.3, 0.13 * len(series))
    caption = "Dots are accuracy (left, with 95 % intervals) and thinking rate (right), if the server reports it."
    return _plot(
        "categories", "By category", caption, draw=partial(plots.categories, series=series, names=names), size=(WIDE, height)
    )


def _reliability(run: RunReport, curve: Reliability, index: int) -> Plot:
    caption = (
        f"{curve.items} items that exactly one of the forced modes solves; expected calibration error "
        f"{curve.calibration_error:.3f}. On the diagonal, p_long is the probability that long is the mode that solves the item."
    )
    title = f"Calibration of p_long: {run.label}"
    return _plot(f"reliability-{index}", title, caption, draw=partial(plots.reliability, curve=curve), size=(HALF, 4.2))
