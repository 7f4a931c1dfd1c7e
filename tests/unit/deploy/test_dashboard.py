"""The Grafana dashboard: its panels ask for metrics and labels that the server exports, and Prometheus answers them."""

import asyncio
import json
import re
import runpy
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.exported import assert_exported, exported
from support.serving import Running, running, scripted

ROOT = Path(__file__).parents[3]
GENERATOR = runpy.run_path(str(ROOT / "scripts/generate_grafana.py"))
DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "grafana/dashboards/autotool.json").read_text()
DASHBOARD = json.loads(TEXT)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PROMETHEUS = shutil.which("prometheus")
NEEDED = pytest.mark.skipif(PROMETHEUS is None, reason="Debian's package prometheus is not installed")
OF_A_REQUEST = tuple(
    f"autotool_{name}" for name in ("requests_total", "tokens", "time_", "request_seconds", "p_long", "target_")
)
"""Beginnings of the metrics that a request has in a server with a target."""


def filled_in(expression: str) -> str:
    """Return an expression with values for the variables that Grafana replaces."""
    return expression.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")


QUERIES = [filled_in(query["expr"]) for panel in PANELS for query in panel["targets"]]


def test_the_dashboard_is_up_to_date() -> None:
    assert GENERATOR["document"]() == TEXT, "run `python scripts/generate_grafana.py`"


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("autotool_request", {}, "the server has no metric autotool_request"),
        ("autotool_requests", {"state": "200"}, "autotool_requests has no label state"),
        ("autotool_ready", {}, "autotool_ready is a gauge, not a counter"),
    ],
)
def test_a_query_names_what_the_server_has(name: str, labels: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GENERATOR["rate"](name, **labels)
    with pytest.raises(ValueError, match=said):
        GENERATOR["rate"](name, *labels)


def test_a_quotient_is_of_series_that_match() -> None:
    rate = GENERATOR["rate"]
    with pytest.raises(ValueError, match="do not match"):
        assert rate("autotool_requests", "mode") / rate("autotool_requests", "status")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_metrics_and_labels_that_the_server_exports(panel: dict[str, Any]) -> None:
    for query in panel["targets"]:
        assert "autotool_" in query["expr"]
        assert_exported(query["expr"], shown=set(re.findall(r"\{\{(\w+)\}\}", query["legendFormat"])))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
def test_prometheus_finds_no_fault_in_its_configuration_and_the_panels_queries(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(QUERIES)]
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
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_of_the_server_is_on_the_dashboard_with_its_help_text() -> None:
    for metric in exported():
        panels = [panel for panel in PANELS if any(f"{metric.name}" in query["expr"] for query in panel["targets"])]
        assert any(metric.documentation in panel["description"] for panel in panels), metric.name


@asynccontextmanager
async def scraping(target: str, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Run a Prometheus that reads a server's metrics each second; yield a client of its API."""
    job = {"job_name": "autotool", "static_configs": [{"targets": [target]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}", f"--web.listen-address={address}")
    with (folder / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(str(PROMETHEUS), *options, stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}/api/v1") as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def results(prometheus: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    answer = await prometheus.get("/query", params={"query": query})
    assert answer.json()["status"] == "success", (query, answer.text)
    return answer.json()["data"]["result"]


async def scraped_again(prometheus: httpx.AsyncClient) -> None:
    """Wait for two more scrapes: the first of them may have begun already."""
    wanted = 2.0
    for attempt in range(600):
        try:
            found = await results(prometheus, 'sum(count_over_time(up{job="autotool"}[1h]))')
        except httpx.TransportError:
            found = []
        number = float(found[0]["value"][1]) if found else 0.0
        wanted = number + 2 if attempt == 0 else wanted
        if number >= wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("no scrapes")


async def ask(server: Running) -> None:
    messages: Any = [{"role": "user", "content": "?"}]
    await server.client.chat.completions.create(model="tested", messages=messages, extra_body={"mode": "auto"})


@NEEDED
async def test_a_prometheus_that_reads_a_server_answers_the_queries_and_fills_the_variables(tmp_path: Path) -> None:
    async with running(scripted("Hm.</think>\n\nFour.", log_odds=50.0), target="thinking-rate=0.9") as server:
        target = server.url.removeprefix("http://").removesuffix("/v1")
        async with scraping(target, tmp_path) as prometheus:
            for _ in range(2):
                await ask(server)
                await scraped_again(prometheus)
            answers = {query: await results(prometheus, query) for query in QUERIES}
            for variable in DASHBOARD["templating"]["list"][1:]:
                match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert match is not None
                values = await prometheus.get(f"/label/{match[2]}/values", params={"match[]": filled_in(match[1])})
                assert values.json()["data"] == [{"job": "autotool", "instance": target}[match[2]]]
    assert [query for query, found in answers.items() if not found and any(name in query for name in OF_A_REQUEST)] == []
    (rate,) = (found for query, found in answers.items() if 'mode="auto", resolved="long"' in query)
    assert [float(series["value"][1]) for series in rate] == [1]
