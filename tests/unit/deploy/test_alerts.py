"""The alert rules: they ask for metrics that the server exports, fire when they should, and the guide names each."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.examples import blocks, commands
from support.exported import assert_exported

from autotool_server.settings import Settings

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy/prometheus/alerts.yml"
GUIDE = ROOT / "docs/guides/deploy.md"
(GROUP,) = yaml.safe_load(FILE.read_text())["groups"]
(PROMETHEUS,) = (block.text for block in blocks(GUIDE) if "scrape_configs" in block.text)
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in GROUP["rules"]}
PROMTOOL = shutil.which("promtool")
NEEDED = pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not installed")

ONE = '{job="autotool", instance="a"}'
STATUS = 'autotool_requests_total{job="autotool", instance="a", mode="auto", resolved="short", status="%s"}'
PRESSURE = f"autotool_load_pressure{ONE}"
REFUSED = 'autotool_requests_refused_total{job="autotool", instance="a", reason="queue_seconds"}'
TOOL = 'autotool_tool_breaker_open{job="autotool", instance="a", tool="shop.order"}'
BUCKET = 'autotool_queue_seconds_bucket{job="autotool", instance="a", le="%s"}'
VLLM = 'up{job="vllm", instance="engine-1:8101"}'
HEALTHY = {
    f"up{ONE}": "1x60",
    VLLM: "1x60",
    f"autotool_ready{ONE}": "1x60",
    f"autotool_engine_restarts_total{ONE}": "0x60",
    STATUS % 200: "0+60x60",
    STATUS % 400: "0+60x60",
    STATUS % 503: "0+2x60",
    REFUSED: "0+2x60",
    PRESSURE: "0x54 9 0x4",
    BUCKET % "1.0": "0+60x60",
    BUCKET % "60.0": "0+60x60",
    BUCKET % "+Inf": "0+60x60",
    f"autotool_connections_refused_total{ONE}": "0x60",
    f"autotool_spend_store_up{ONE}": "1x60",
    TOOL: "0x60",
    f"autotool_tool_audit_failures_total{ONE}": "0x60",
}
"""A minute apart, for an hour: `a+bxn` is a, a+b, and so on; `_` is none."""
FAULTS: dict[str, dict[str, str]] = {
    "AutotoolDown": {f"up{ONE}": "0x60"},
    "AutotoolNotReady": {f"autotool_ready{ONE}": "0x60"},
    "AutotoolEngineRestarts": {f"autotool_engine_restarts_total{ONE}": "0x50 1x10"},
    # A server that has refused nothing does not export the count of refusals.
    "AutotoolEngineFails": {STATUS % 503: "0+2x60", REFUSED: "_x60"},
    "AutotoolEngineDown": {VLLM: "0x60"},
    "AutotoolErrors": {STATUS % 500: "0+3x60"},
    "AutotoolRefuses": {REFUSED.replace("queue_seconds", "body_bytes"): "0+12x60", STATUS % 503: "0+14x60"},
    "AutotoolQueueIsLong": {BUCKET % "1.0": "0x60"},
    # It falls below 1 now and then, as it does with relief.
    "AutotoolLoadIsHigh": {PRESSURE: " ".join(["1.5x4 0.9"] * 10)},
    # Requests on connections that are too many are refused too, and are no failure of the engine.
    "AutotoolConnectionsRefused": {
        f"autotool_connections_refused_total{ONE}": "0+1x60",
        REFUSED.replace("queue_seconds", "connections"): "0+2x60",
        STATUS % 503: "0+4x60",
    },
    "AutotoolSpendStoreLost": {f"autotool_spend_store_up{ONE}": "0x60"},
    "AutotoolToolUnavailable": {TOOL: "1x60"},
    "AutotoolAuditLogFails": {f"autotool_tool_audit_failures_total{ONE}": "0+1x60"},
}
NO_LONG_QUEUE = {REFUSED: "0+12x60", STATUS % 503: "0+12x60"}
"""Requests are refused that would wait, before any waits for long."""


@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_for_what_the_server_exports_and_says_what_to_do(name: str) -> None:
    rule = RULES[name]
    texts = " ".join(rule["annotations"].values())
    assert_exported(rule["expr"], shown=set(re.findall(r"\$labels\.(\w+)", texts)))
    assert rule["annotations"].keys() == {"summary", "description"}
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_rule_has_a_fault() -> None:
    assert FAULTS.keys() == RULES.keys()


def test_the_guide_names_every_rule() -> None:
    table = GUIDE.read_text().partition("## What to watch")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(Autotool\w+)`", table)) == RULES.keys()


def test_prometheus_reads_the_rules_for_its_own_jobs() -> None:
    config = yaml.safe_load((FILE.parent / "prometheus.yml").read_text())
    assert config["rule_files"] == [FILE.name]
    (job,) = config["scrape_configs"]
    assert f'job="{job["job_name"]}"' in RULES["AutotoolDown"]["expr"]


def test_the_guides_prometheus_has_the_jobs_of_the_rules_and_reads_them() -> None:
    config = yaml.safe_load(PROMETHEUS)
    assert config["rule_files"] == [FILE.name]
    asked = set(re.findall(r'job="(\w+)"', " ".join(rule["expr"] for rule in RULES.values())))
    assert asked == {job["job_name"] for job in config["scrape_configs"]}


@NEEDED
def test_prometheus_finds_no_fault_in_the_guides_configuration(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path)
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS)
    command = [str(PROMTOOL), "check", "config", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_wait_for_as_long_as_a_stop_takes_and_half_of_the_longest_wait() -> None:
    minutes = int(RULES["AutotoolNotReady"]["for"].removesuffix("m"))
    assert 60 * minutes > Settings().drain_seconds
    assert RULES["AutotoolQueueIsLong"]["expr"].rstrip().endswith(f"> {Settings().max_queue_seconds / 2:g}")


def test_the_guides_command_makes_a_rule_of_the_prometheus_operator() -> None:
    command = commands(GUIDE, "PrometheusRule").replace("kubectl apply -f -", "cat")
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    made = yaml.safe_load(done.stdout)
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["spec"] == {"groups": [GROUP]}


@NEEDED
@pytest.mark.parametrize(("name", "fault"), [(None, {}), *FAULTS.items(), ("AutotoolQueueIsLong", NO_LONG_QUEUE)])
def test_a_rule_fires_for_its_fault_and_none_for_a_healthy_server(
    tmp_path: Path, name: str | None, fault: dict[str, str]
) -> None:
    series = HEALTHY | fault
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name is not None else []
    test = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": "59m", "exp_samples": samples}],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": [str(FILE)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([str(PROMTOOL), "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
