"""The Grafana dashboard: its panels ask for metrics and labels that the server exports."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.exported import assert_exported, exported

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/autotool.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_metrics_and_labels_that_the_server_exports(panel: dict[str, Any]) -> None:
    for query in panel["targets"]:
        assert "autotool_" in query["expr"]
        assert_exported(query["expr"], shown=set(re.findall(r"\{\{(\w+)\}\}", query["legendFormat"])))


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
