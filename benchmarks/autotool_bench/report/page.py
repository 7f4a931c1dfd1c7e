"""The report's page: one HTML file with inline plots that loads nothing; its one script, inline, filters the items."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autotool_bench.report import item_list, listing, plots, svg, tables, text
from autotool_bench.report.attempts import asked
from autotool_bench.report.groups import Group, group_runs, page_title
from autotool_bench.report.oracle import Reliability
from autotool_bench.report.plots import HALF, NARROW, WIDE, Series, series_of, warnings_of
from autotool_bench.report.summary import METHOD, RunReport


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, for a wide and for a narrow screen, with its title and caption."""

    title: str
    wide: Markup
    narrow: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """What the page shows of the runs of the same items."""

    title: str
    runs: Sequence[str]
    """The labels of the runs."""
    headlines: Sequence[str]
    warnings: Sequence[str]
    """What makes figures of a mode misleading, with the mode's label."""
    tables: Mapping[str, tables.Table]
    plots: Mapping[str, Plot]
    calibrations: Sequence[tuple[str, Plot | None]]
    """The label of each run, and the calibration of its p_long if it can be drawn."""
    items: item_list.ItemList


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
    templates.globals["script"] = Markup(script())  # noqa: S704 a file of this package
    digest = hashlib.sha256(script().encode()).digest()
    templates.globals["script_hash"] = base64.b64encode(digest).decode()
    templates.filters |= {"summary": listing.summary, "asked": asked}
    return templates


@cache
def script() -> str:
    """Return the script that filters the items. The page's policy allows this text and no other script."""
    return (Path(__file__).parent / "templates" / "items.js").read_text(encoding="utf-8")


def report_page(runs: Sequence[RunReport]) -> str:
    """Return the content of report.html."""
    groups = group_runs(runs)
    return page_of(
        "report.html.j2",
        title=page_title(groups),
        measured=tables.measured_table(groups),
        sections=[_section(group, index) for index, group in enumerate(groups)],
        runs=runs,
    )


def _section(group: Group, index: int) -> Section:
    series = series_of(group.runs)
    shown = {
        "modes": tables.modes_table(series),
        "official": tables.official_table(series),
        "categories": tables.category_table(series, _categories(group.runs)),
        "tokens": tables.tokens_table(series),
        "regret": tables.regret_table(series),
        "errors": tables.errors_table(series),
    }
    return Section(
        title=group.title,
        runs=[run.label for run in group.runs],
        headlines=[sentence for run in group.runs if (sentence := headline(run)) is not None],
        warnings=warnings_of(series),
        tables=shown,
        plots=_plots(group, series, f"g{index}"),
        calibrations=[(run.label, _calibration(run.reliability, f"g{index}-{n}")) for n, run in enumerate(group.runs)],
        items=item_list.of_group(group, series),
    )


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


def _plots(group: Group, series: Sequence[Series], name: str) -> dict[str, Plot]:
    labels, names = [entry.label for entry in series], _categories(group.runs)
    rows = 1.2 + (0.36 if len(group.runs) == 1 else 0.45) * len(series)
    lines = [*labels, *(str(line.get_label()) for line in (plots.FRONTIER, plots.COIN_TOSS))]
    by_category = 0.8 + len(names) * max(0.3, 0.13 * len(series))
    return {
        "frontier": draw_plot(
            f"frontier-{name}",
            "Accuracy against generated tokens",
            "Up and to the left is better. Bars are 95 % intervals. The dotted steps are the Pareto frontier; the dashed "
            "line is what a coin toss between short and long gives. Both join only modes that attempted all of the "
            f"{text.counted(group.items, 'item')}.",
            draw=partial(plots.frontier, series=series, items=group.items),
            sizes=with_legend(lines, 4.0, 3.4),
            description=plots.describe(series),
        ),
        "categories": draw_plot(
            f"categories-{name}",
            "By category",
            "Dots are accuracy, with 95 % intervals, and thinking rate, if the server reports it.",
            draw=partial(plots.categories, series=series, names=names),
            sizes=with_legend(labels, by_category, 2 * by_category),
        ),
        "composition": draw_plot(
            f"composition-{name}",
            "Generated tokens by type",
            "Mean generated tokens of a served item.",
            draw=partial(plots.composition, series=series),
            sizes=((HALF, rows), (NARROW, rows + 0.3)),
        ),
        "latency": draw_plot(
            f"latency-{name}",
            "Latency",
            "From request to complete answer, all turns of an item: the marker is p50, the bar ends at p90, the line at p99.",
            draw=partial(plots.latency, series=series),
            sizes=((HALF, rows), (NARROW, rows)),
        ),
    }


def _calibration(curve: Reliability | None, name: str) -> Plot | None:
    if curve is None:
        return None
    caption = (
        f"{curve.items} items that exactly one of the forced modes solves; expected calibration error "
        f"{curve.calibration_error:.3f}. On the diagonal, p_long is the probability that long is the mode that solves the item."
    )
    draw = partial(plots.reliability, curve=curve)
    return draw_plot(f"reliability-{name}", "Calibration of p_long", caption, draw=draw, sizes=((HALF, 4.2), (NARROW, 3.8)))


Size = tuple[float, float]
"""Width and height in inches."""


def with_legend(labels: Sequence[str], wide: float, narrow: float) -> tuple[Size, Size]:
    """Return the sizes of a plot whose axes have these heights, with a legend of the labels below."""
    return (WIDE, wide + plots.legend_height(labels, WIDE)), (NARROW, narrow + plots.legend_height(labels, NARROW))


def draw_plot(name: str, title: str, caption: str, *, draw: svg.Draw, sizes: tuple[Size, Size], description: str = "") -> Plot:
    """Draw a plot in two sizes, for a wide and for a narrow screen; the page shows one of them."""
    wide, narrow = (
        Markup(svg.inline(draw, f"{name}-{screen}", title, description or caption, size))  # noqa: S704 drawn by us
        for screen, size in zip(("wide", "narrow"), sizes, strict=True)
    )
    return Plot(title, wide, narrow, caption)


def page_of(template: str, **values: Any) -> str:
    """Return the page of a template."""
    return environment().get_template(template).render(method=METHOD, settings=settings, **values)
