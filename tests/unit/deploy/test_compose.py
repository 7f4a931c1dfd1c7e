"""compose.yaml and the files that its services read, held together. `make lint` checks the file against its schema."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotool_server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_the_profiles_start_one_server_each_and_the_monitoring() -> None:
    profiles = {name: service["profiles"] for name, service in COMPOSE["services"].items()}
    assert profiles == {"cpu": ["cpu"], "gpu": ["gpu"], "prometheus": ["monitoring"], "grafana": ["monitoring"]}


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_server_is_only_reached_from_its_machine_and_scraped_by_its_alias(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["ports"] == ["${PUBLISH:-127.0.0.1:8000}:8000"]
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{alias}:8000" for alias in service["networks"]["default"]["aliases"]]
    assert "metrics_path" not in job, "Prometheus' default is /metrics"


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_the_engines_are_those_of_the_image(name: str) -> None:
    build = COMPOSE["services"][name]["build"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"\n      {build['args']['ENGINE']})" in dockerfile
    assert all(f"\nARG {argument}=" in dockerfile for argument in build["args"])


def test_every_setting_is_passed_on_but_for_the_images_address_and_port() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields.keys() - {"host", "port"}}
    variables = COMPOSE["x-server"]["environment"]
    # The guide's table of those that traces have.
    rows = re.findall(r"^\| (`OTEL_[^|]*) \|", (ROOT / "docs/guides/traces.md").read_text(), re.MULTILINE)
    traces = {name for row in rows for name in re.findall(r"OTEL_\w+", row)} | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"}
    assert variables.keys() == settings | traces | {"HF_TOKEN", "FORWARDED_ALLOW_IPS"}
    assert all(value is None for value in variables.values()), "passed on where they are set, and not as an empty text"


def test_prometheus_keeps_the_traces_of_latencies_and_reads_its_file() -> None:
    service = COMPOSE["services"]["prometheus"]
    options = dict(option.removeprefix("--").split("=") for option in service["command"])
    assert options["enable-feature"] == "exemplar-storage"
    folders = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert options["config.file"] == folders["./deploy/prometheus/prometheus.yml"]
    assert options["storage.tsdb.path"] == folders["prometheus"]


def mounts() -> Iterator[tuple[str, str]]:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            yield source, target


def test_what_is_mounted_exists() -> None:
    sources = [source for source, _ in mounts()]
    assert all((ROOT / source).exists() for source in sources if source.startswith("."))
    assert {source for source in sources if not source.startswith(".")} == set(COMPOSE["volumes"])


def data_sources(part: Any) -> Iterator[dict[str, str]]:
    """Return every data source that is named anywhere in a dashboard."""
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "datasource")
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from data_sources(inner)


def test_grafana_finds_its_dashboard_and_the_dashboard_its_prometheus() -> None:
    targets = {target: ROOT / source for source, target in mounts()}
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/autotool.yaml").read_text())["providers"][0]
    assert list(targets[provider["options"]["path"]].glob("*.json"))
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (targets[str(Path(home).parent)] / Path(home).name).is_file()
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/autotool.json").read_text())
    (variable,) = (variable for variable in dashboard["templating"]["list"] if variable["type"] == "datasource")
    assert variable["query"] == source["type"], "the variable lists the sources of this type, and takes the default one"
    assert source["isDefault"]
    assert {used["uid"] for used in data_sources(dashboard)} == {f"${{{variable['name']}}}"}
