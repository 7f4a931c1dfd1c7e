"""Write the Grafana dashboard, deploy/grafana/dashboards/autotool.json: `python scripts/generate_grafana.py`.

Its queries are made of the metrics that the server has registered: `Metric.series` raises for a metric of another name or
type, and for a label that the metric has not. The help texts of the metrics describe the panels.
tests/unit/deploy/test_dashboard.py checks that the committed file is up to date.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, prometheus, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from prometheus_client import REGISTRY

from autotool_bench.report.svg import AUTO, LONG, OTHER, SHORT
from autotool_server import errors
from autotool_server.api.metrics import Metrics
from autotool_server.engines import queue_metrics

FILE = Path(__file__).parent.parent / "deploy/grafana/dashboards/autotool.json"
SOURCE = dashboard.DataSourceRef("prometheus", "${datasource}")
REGISTERING = (errors, queue_metrics)
"""Modules whose metrics are in the default registry once they are imported; tools' are imported by the app's."""
OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus gives to every series of a server; each is a variable of the dashboard."""
CHOSEN = ", ".join(f'{label}=~"${label}"' for label in ("job", "instance"))
WINDOW = "[$__rate_interval]"
SUFFIXES = {"counter": "_total", "gauge": "", "histogram": "_bucket"}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
DASHES = {"p90": {"fill": "dash", "dash": [10, 6]}, "p99": {"fill": "dot", "dash": [0, 6]}}
# As in the benchmark's report; all but the grey of Okabe and Ito's palette, which colour-blind people can tell apart.
MODES = {"auto": AUTO, "long": LONG, "short": SHORT, "mixed": OTHER, "none": "#999999"}
KINDS = {"reasoning": "#e69f00", "content": "#56b4e9", "prompt": "#999999", "cached": AUTO, "decision": OTHER}
STATUS = {r"2\d\d": "#56b4e9", r"4\d\d": "#e69f00", r"5\d\d": OTHER}
COLOURS = {"mode": MODES, "resolved": MODES, "kind": KINDS, "status": STATUS}
"""Colours of the values of labels; Grafana chooses those of other labels."""
GOOD, BAD = "#56b4e9", "#e69f00"

Panel = timeseries.Panel | heatmap.Panel | statetimeline.Panel


@dataclass(frozen=True)
class Metric:
    """A metric that the server has registered. `kind` is its type, and `text` its help text."""

    name: str
    kind: str
    text: str
    labels: frozenset[str]

    def series(self, kind: str, by: tuple[str, ...], where: Mapping[str, str]) -> str:
        """Return the selector of its samples. Raises ValueError for another type, or for a label that it has not."""
        if self.kind != kind:
            raise ValueError(f"{self.name} is a {self.kind}, not a {kind}")
        if unknown := {*by, *where} - self.labels - OF_PROMETHEUS:
            raise ValueError(f"{self.name} has no label {', '.join(sorted(unknown))}")
        matchers = (f'{label}{"=~" if "|" in value else "="}"{value}"' for label, value in where.items())
        return f"{self.name}{SUFFIXES[kind]}{{{', '.join((CHOSEN, *matchers))}}}"


def _registered() -> Iterator[Metric]:
    """Yield the metrics of an app and of the process."""
    collectors: tuple[Any, Any] = (Metrics().registry, REGISTRY)
    for collector in [collector for registry in collectors for collector in registry._collector_to_names]:
        for family in collector.collect():
            # A family that a collector makes has the names of its labels; else the collector has them.
            labels = getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", ())
            yield Metric(family.name, family.type, family.documentation, frozenset(labels))


METRICS = {metric.name: metric for metric in _registered() if metric.name.startswith("autotool_")}


@dataclass(frozen=True)
class Query:
    """An expression, the labels that tell its series apart, and the metrics that it asks for."""

    expression: str
    by: tuple[str, ...]
    metrics: tuple[Metric, ...]

    def __truediv__(self, other: "Query") -> "Query":
        if self.by != other.by:
            raise ValueError(f"series by {self.by} and {other.by} do not match")
        return Query(f"{self.expression} / {other.expression}", self.by, self.metrics + other.metrics)


def share(part: Query, whole: Query) -> Query:
    """Return the share that a part has of the whole: 0, and not nothing, where the part has no series yet."""
    part = Query(f"({part.expression} or 0 * {whole.expression})", part.by, part.metrics)
    return part / whole


def metric(name: str) -> Metric:
    """Return a metric. Raises ValueError where the server has none of this name."""
    if name not in METRICS:
        raise ValueError(f"the server has no metric {name}")
    return METRICS[name]


def _grouped(operator: str, expression: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)}) ({expression})" if by else f"{operator}({expression})"


def _over_time(function: str, name: str, by: tuple[str, ...], where: Mapping[str, str]) -> Query:
    expression = f"{function}({metric(name).series('counter', by, where)}{WINDOW})"
    return Query(_grouped("sum", expression, by), by, (metric(name),))


def rate(name: str, *by: str, **where: str) -> Query:
    """Return how much a counter grows in a second, summed by labels."""
    return _over_time("rate", name, by, where)


def increase(name: str, *by: str, **where: str) -> Query:
    """Return how much a counter grows between two points of the panel, summed by labels."""
    return _over_time("increase", name, by, where)


def gauge(name: str, *by: str, operator: str = "sum") -> Query:
    """Return a gauge, aggregated by labels."""
    return Query(_grouped(operator, metric(name).series("gauge", by, {}), by), by, (metric(name),))


def quantiles(name: str, *by: str) -> dict[str, Query]:
    """Return quantiles of a histogram, by their names."""
    grouped = _grouped("sum", f"rate({metric(name).series('histogram', by, {})}{WINDOW})", ("le", *by))
    return {label: Query(f"histogram_quantile({share}, {grouped})", by, (metric(name),)) for label, share in QUANTILES.items()}


def buckets(name: str) -> Query:
    """Return how many observations each bucket of a histogram got between two points of the panel."""
    series = f"increase({metric(name).series('histogram', (), {})}{WINDOW})"
    return Query(_grouped("sum", series, ("le",)), ("le",), (metric(name),))


def _described(panel: Any, title: str, queries: Mapping[str, Query], query_format: PromQueryFormat, note: str) -> Any:
    """Give a panel what those of every kind have. `queries`: by the text that follows the labels in the legend."""
    texts = {metric.name: f"`{metric.name}`: {metric.text}." for query in queries.values() for metric in query.metrics}
    panel.title(title).description("\n\n".join(filter(None, (*texts.values(), note)))).datasource(SOURCE).height(8)
    for letter, (text, query) in zip("ABCDEF", queries.items(), strict=False):
        legend = " ".join(filter(None, (*(f"{{{{{label}}}}}" for label in query.by), text)))
        target = prometheus.Dataquery().expr(query.expression).legend_format(legend).format(query_format).range()
        panel.with_target(target.ref_id(letter).datasource(SOURCE))
    return panel


def lines(title: str, unit: str, queries: Mapping[str, Query], width: int = 8, note: str = "") -> timeseries.Panel:
    """Return a panel of lines: a mode or a kind of tokens has one colour everywhere, and a quantile one style."""
    panel = timeseries.Panel().unit(unit).axis_soft_min(0).span(width).fill_opacity(0).show_points(common.VisibilityMode.NEVER)
    legend = common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    panel.legend(legend.display_mode(common.LegendDisplayMode.LIST)).tooltip(tooltip)
    colours = {
        name: colour for query in queries.values() for label in query.by for name, colour in COLOURS.get(label, {}).items()
    }
    for name, colour in colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel.override_by_regexp(f"/^{name}( p\\d\\d)?$/", [dashboard.DynamicConfigValue("color", fixed)])
    for name, dash in DASHES.items() if DASHES.keys() <= queries.keys() else ():
        panel.override_by_regexp(f"/{name}$/", [dashboard.DynamicConfigValue("custom.lineStyle", dash)])
    return _described(panel, title, queries, PromQueryFormat.TIME_SERIES, note)


def state(title: str, query: Query, texts: tuple[str, str], good: int, width: int = 8) -> statetimeline.Panel:
    """Return a panel of when gauges were 0 and 1. `texts`: what each means; `good`: the one that nobody needs to act on."""
    colours = {number: GOOD if number == good else BAD for number in (0, 1)}
    shown = {str(number): dashboard.ValueMappingResult(texts[number], colours[number], index=number) for number in (0, 1)}
    panel = statetimeline.Panel().span(width).mappings([dashboard.ValueMap(shown)]).fill_opacity(80)
    return _described(panel, title, {"": query}, PromQueryFormat.TIME_SERIES, "")


def heat(title: str, unit: str, query: Query, width: int = 8) -> heatmap.Panel:
    """Return a panel of a histogram over time."""
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Viridis").steps(64)
    panel = heatmap.Panel().span(width).calculate(False).color(colour).y_axis(heatmap.YAxisConfig().unit(unit))
    return _described(panel, title, {"": query}, PromQueryFormat.HEATMAP, "")


DECODED = {"kind": "decision|reasoning|content"}
IN_AUTO = {"mode": "auto"}
OF_MODES = {"resolved": "long|short"}


def _of_targets(title: str, unit: str, name: str) -> timeseries.Panel:
    """Return a panel of a gauge of targets: a third of a row."""
    return lines(title, unit, {"": gauge(name, "scope", "target", operator="avg")})


def _of_load(title: str, unit: str, name: str) -> timeseries.Panel:
    """Return a panel of what the load changes in each instance: a third of a row."""
    return lines(title, unit, {"": gauge(name, "instance", operator="avg")})


ROWS: dict[str, list[Panel]] = {
    "Traffic": [
        lines("Requests by mode", "reqps", {"": rate("autotool_requests", "mode")}),
        lines("Requests by resolved mode", "reqps", {"": rate("autotool_requests", "resolved")}),
        lines("Requests by status", "reqps", {"": rate("autotool_requests", "status")}, note="499: the client left."),
        lines(
            "Requests in flight",
            "short",
            {"all": gauge("autotool_requests_in_flight"), "": gauge("autotool_requests_in_flight", "instance")},
        ),
        lines("Requests that wait", "short", {"requests": gauge("autotool_queue_requests")}),
        lines("Tokens that wait", "short", {"tokens": gauge("autotool_queue_tokens")}),
        lines("Time in the queue", "s", quantiles("autotool_queue_seconds"), 12),
        lines("Requests refused", "reqps", {"": rate("autotool_requests_refused", "reason")}, 12),
    ],
    "Latency": [
        lines("Time to the first token", "s", quantiles("autotool_time_to_first_token_seconds", "resolved"), 12),
        lines(
            "Time to the first content token",
            "s",
            quantiles("autotool_time_to_first_content_token_seconds", "resolved"),
            12,
            "The reasoning comes before it.",
        ),
        lines("Time per output token", "s", quantiles("autotool_time_per_output_token_seconds", "resolved"), 12),
        lines("Time of a request", "s", quantiles("autotool_request_seconds", "resolved"), 12, "Tool calls are included."),
    ],
    "Tokens": [
        lines("Tokens by kind", "suffix: tokens/s", {"": rate("autotool_tokens", "kind")}, 6),
        lines("Decoded tokens by mode", "suffix: tokens/s", {"": rate("autotool_tokens", "resolved", **DECODED)}, 6),
        lines(
            "Decoded tokens of a request",
            "short",
            {"": rate("autotool_tokens", **DECODED) / rate("autotool_requests", status="200")},
            6,
            "The mean over all modes, of requests that were answered. A request may have several turns.",
        ),
        lines(
            "Prompt tokens from the cache",
            "percentunit",
            {"share": rate("autotool_tokens", kind="cached") / rate("autotool_tokens", kind="prompt")},
            6,
        ),
    ],
    "The decision": [
        lines(
            "Thinking rate in auto",
            "percentunit",
            {
                "": share(
                    rate("autotool_requests", "mode", **IN_AUTO, resolved="long"),
                    rate("autotool_requests", "mode", **IN_AUTO, **OF_MODES),
                )
            },
            12,
            "The share of long among the requests in auto that resolved to one mode.",
        ),
        heat("Probability of long", "percentunit", buckets("autotool_p_long"), 12),
        _of_targets("Bias of targets", "short", "autotool_target_bias"),
        _of_targets("Thinking rate of targets", "percentunit", "autotool_target_thinking_rate"),
        _of_targets("Tokens of targets", "short", "autotool_target_tokens"),
        _of_load("Pressure of the load", "percentunit", "autotool_load_pressure"),
        _of_load("Bias of the load", "short", "autotool_load_bias"),
        _of_load("Thoughts that the load leaves", "percentunit", "autotool_load_share"),
    ],
    "Server tools": [
        lines("Calls by outcome", "ops", {"": rate("autotool_tool_calls", "outcome")}),
        lines("Calls by tool", "ops", {"": rate("autotool_tool_calls", "tool")}),
        lines("Time of a call", "s", quantiles("autotool_tool_seconds", "tool")),
        lines("Turns of a request", "short", quantiles("autotool_tool_turns")),
        lines("Requests ended by a budget", "reqps", {"": rate("autotool_tool_budget_stops", "budget")}),
        lines("Escalations to long", "ops", {"": rate("autotool_tool_escalations", "reason")}),
        lines("Results", "bytes", quantiles("autotool_tool_result_bytes", "tool"), 6),
        lines("Time saved by calls during decoding", "s", {"seconds": increase("autotool_tool_overlap_seconds")}, 6),
        state(
            "Circuit breakers", gauge("autotool_tool_breaker_open", "tool", operator="max"), ("closed", "open"), good=0, width=6
        ),
        lines("Lines that the audit log lacks", "short", {"lines": increase("autotool_tool_audit_failures")}, 6),
    ],
    "Audits": [
        lines("Audits by outcome", "ops", {"": rate("autotool_audits", "outcome")}, 12),
        lines("Decoded tokens of audits", "suffix: tokens/s", {"": rate("autotool_audit_tokens", "resolved")}, 12),
    ],
    "Keys": [
        lines("Requests beyond a limit of their key", "reqps", {"": rate("autotool_requests_limited", "limit")}),
        state("Spend store", gauge("autotool_spend_store_up", "instance", operator="min"), ("lost", "up"), good=1),
        lines("Failures of the spend store", "short", {"failures": increase("autotool_spend_store_failures")}),
    ],
    "Engine": [
        state("Ready", gauge("autotool_ready", "instance", operator="min"), ("not ready", "ready"), good=1, width=6),
        lines("Restarts of the engine", "short", {"": increase("autotool_engine_restarts", "instance")}, 6),
        lines(
            "Requests in the engine",
            "short",
            {"waiting": gauge("autotool_engine_requests_waiting"), "running": gauge("autotool_engine_requests_running")},
            6,
        ),
        lines("Time in the engine's queue", "s", quantiles("autotool_engine_queue_seconds"), 6),
    ],
    "Connections": [
        lines("Open connections", "short", {"": gauge("autotool_connections", "instance")}),
        lines("Connections refused", "ops", {"": rate("autotool_connections_refused", "instance")}),
        lines("Bodies of requests", "bytes", {"": gauge("autotool_request_body_bytes", "instance")}),
    ],
}
"""Panels by the titles of their rows; the widths of a line add up to 24."""


def _variable(label: str, title: str, where: str = "") -> builders.QueryVariable:
    """Return a choice among the values of a label, of which at first all are taken."""
    query = f"label_values(autotool_requests_in_flight{where}, {label})"
    variable = builders.QueryVariable(label).label(title).datasource(SOURCE).query({"query": query, "refId": label})
    every = dashboard.VariableOption(text="All", value="$__all")
    variable.multi(True).include_all(True).all_value(".*").current(every).sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    return variable.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)


def document() -> str:
    """Return the dashboard as JSON."""
    made = builders.Dashboard("AutoTool Server").uid("autotool").tags(["autotool"]).timezone("browser").refresh("15s")
    made.description("Requests, modes, tokens, latency and tools of AutoTool Server (GET /metrics).").time("now-1h", "now")
    made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    made.with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made.with_variable(_variable("job", "Job")).with_variable(_variable("instance", "Instance", '{job=~"$job"}'))
    ids = count(1)
    for title, panels in ROWS.items():
        made.with_row(builders.Row(title).id(next(ids)))
        for panel in panels:
            made.with_panel(panel.id(next(ids)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
