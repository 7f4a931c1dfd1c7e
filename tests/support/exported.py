"""The metrics that the server exports, and whether an expression of Prometheus asks for others."""

import re
from typing import Any, cast

from prometheus_client import REGISTRY, Metric

from autotool_server import errors
from autotool_server.api.metrics import Metrics
from autotool_server.engines import queue_metrics


def exported() -> list[Metric]:
    """Return the metrics of the server, and those of the process: of its engine's queue, its tools and its refusals."""
    assert queue_metrics.SECONDS
    assert errors.REFUSED
    of_process = [metric for metric in REGISTRY.collect() if metric.name.startswith("autotool_")]
    return [*Metrics().registry.collect(), *of_process]


def assert_exported(expression: str, shown: set[str]) -> None:
    """Check that the server exports the metrics and the labels of an expression. `shown`: labels that its legend names."""
    names = set(re.findall(r"\bautotool_\w+", expression))
    assert names <= _samples()
    matched = {label for part in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)[=!]~?", part)}
    grouped = {label for part in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in part.split(", ")}
    of_metrics = set.union({"job", "instance"}, *(_labels(name) for name in names))
    assert matched | grouped | shown <= of_metrics
    assert shown <= grouped | {"instance"}


def _samples() -> set[str]:
    """Return the names of the samples that the server exports, as Prometheus stores them."""
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return {metric.name + suffix for metric in exported() for suffix in suffixes[metric.type]}


def _labels(metric: str) -> set[str]:
    name = re.sub("_(total|bucket|sum|count)$", "", metric)
    collectors: Any = [*cast("Any", Metrics().registry)._collector_to_names, *cast("Any", REGISTRY)._collector_to_names]
    collector = next(item for item in collectors if getattr(item, "_name", None) == name)
    return {*collector._labelnames, "le"}
