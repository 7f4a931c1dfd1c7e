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
    for name, matchers in re.findall(r"\b(autotool_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)[=!]~?", matchers)) <= _labels(name)
    grouped = {label for part in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in part.split(", ")}
    assert grouped | shown <= set.union({"job", "instance"}, *(_labels(name) for name in names))
    assert shown <= grouped | {"instance"}


def _samples() -> set[str]:
    """Return the names of the samples that the server exports, as Prometheus stores them."""
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return {metric.name + suffix for metric in exported() for suffix in suffixes[metric.type]}


def _labels(sample: str) -> set[str]:
    """Return the labels of a sample in Prometheus. A family that a collector makes has their names; else the collector has."""
    name = re.sub("_(total|bucket|sum|count)$", "", sample)
    collectors: Any = [*cast("Any", Metrics().registry)._collector_to_names, *cast("Any", REGISTRY)._collector_to_names]
    (owner,) = (
        family if hasattr(family, "_labelnames") else collector
        for collector in collectors
        for family in collector.collect()
        if family.name == name
    )
    return {*owner._labelnames, "job", "instance", "le"}
