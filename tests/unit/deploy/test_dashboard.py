"""The Grafana dashboard: its panels ask for metrics and labels that the server exports."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY, Metric

from autotool_server.api.metrics import Metrics
from autotool_server.engines import queue_metrics

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/autotool.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def samples() -> set[str]:
    """Return the names of the samples that the server exports, as Prometheus stores them."""
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return {metric.name + suffix for metric in exported() for suffix in suffixes[metric.type]}


def exported() -> list[Metric]:
    """Return the metrics of the server, and of its engine's queue."""
    assert queue_metrics.SECONDS
    of_engine = [metric for metric in REGISTRY.collect() if metric.name.startswith("autotool_")]
    return [*Metrics().registry.collect(), *of_engine]


def labels(metric: str) -> set[str]:
    name = re.sub("_(total|bucket|sum|count)$", "", metric)
    collectors: Any = [*cast("Any", Metrics().registry)._collector_to_names, *cast("Any", REGISTRY)._collector_to_names]
    collector = next(item for item in collectors if getattr(item, "_name", None) == name)
    return {*collector._labelnames, "job", "instance", "le"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_metrics_and_labels_that_the_server_exports(panel: dict[str, Any]) -> None:
    for query in panel["targets"]:
        expression = query["expr"]
        names = re.findall(r"\bautotool_\w+", expression)
        assert names
        assert set(names) <= samples()
        matched = {label for part in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)=~?", part)}
        grouped = {label for part in re.findall(r"by \(([^)]*)\)", expression) for label in part.split(", ")}
        shown = set(re.findall(r"\{\{(\w+)\}\}", query["legendFormat"]))
        assert matched | grouped | shown <= set.union(*(labels(name) for name in names))
        assert shown <= grouped | {"instance"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
def test_prometheus_finds_no_fault_in_its_configuration_and_the_panels_queries(tmp_path: Path) -> None:
    queries = [query["expr"].replace("$__rate_interval", "1m") for panel in PANELS for query in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    for kind, file in (("config", DEPLOY / "prometheus/prometheus.yml"), ("rules", tmp_path / "rules.yml")):
        done = subprocess.run(["promtool", "check", kind, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_of_the_server_is_on_the_dashboard() -> None:
    shown = " ".join(query["expr"] for panel in PANELS for query in panel["targets"])
    left_out = {"autotool_tool_result_bytes", "autotool_tool_overlap_seconds"}
    assert {metric.name for metric in exported() if metric.name not in shown} == left_out
