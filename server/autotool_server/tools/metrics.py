"""Prometheus metrics of server tools, prefix `autotool_tool_`."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autotool_core.record import ToolExecution, TurnRecord
from autotool_server.tools.results import Outcome

SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
BYTES = tuple(4**power for power in range(2, 12))
TURNS = (1, 2, 3, 4, 6, 8, 12, 16, 32)
BUDGETS = {"max_turns", "max_calls", "max_seconds", "context"}

AUDIT_FAILURES = Counter("autotool_tool_audit_failures", "Lines that the audit log of calls could not take")


class ToolMetrics:
    """Metrics of server tools. Calls of unknown tools are counted as `unknown`, since a model may invent any name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter("autotool_tool_calls", "Calls by tool and outcome", ("tool", "outcome"), registry=registry)
        self.seconds = Histogram(
            "autotool_tool_seconds",
            "Wall time of calls that ran, retries included",
            ("tool",),
            buckets=SECONDS,
            registry=registry,
        )
        self.result_bytes = Histogram(
            "autotool_tool_result_bytes", "Results that the model reads", ("tool",), buckets=BYTES, registry=registry
        )
        self.overlap = Counter(
            "autotool_tool_overlap_seconds", "Time that calls ran while the model still decoded their turn", registry=registry
        )
        self.turns = Histogram("autotool_tool_turns", "Turns of requests with server tools", buckets=TURNS, registry=registry)
        self.budget_stops = Counter("autotool_tool_budget_stops", "Requests ended by a budget", ("budget",), registry=registry)
        self.escalations = Counter(
            "autotool_tool_escalations", "Short turns decoded again in long, by reason", ("reason",), registry=registry
        )
        self.breakers = _BreakerGauge(registry)

    def loop_ended(self, records: Sequence[TurnRecord], stop_reason: str | None) -> None:
        """Count the tool loop of a request, from the records of its turns."""
        self.turns.observe(len(records))
        if stop_reason in BUDGETS:
            self.budget_stops.labels(stop_reason).inc()
        for record in records:
            if record.escalated is not None:
                self.escalations.labels(record.escalated).inc()
            for execution in record.executions:
                self._count_call(execution)

    def _count_call(self, execution: ToolExecution) -> None:
        tool = "unknown" if execution.outcome == Outcome.UNKNOWN_TOOL else execution.name
        self.calls.labels(tool, execution.outcome).inc()
        self.result_bytes.labels(tool).observe(execution.result_bytes)
        self.overlap.inc(execution.overlap_seconds)
        if execution.attempts:
            self.seconds.labels(tool).observe(execution.seconds)


class _BreakerGauge(Collector):
    """Whether calls of tools are refused because their last ones have failed, of the tools that there are now."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.states: Callable[[], Mapping[str, bool]] = dict[str, bool]
        """Returns whether the breaker of each tool is open."""
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        text = "Whether a tool's last calls have failed, so that others are refused"
        gauge = GaugeMetricFamily("autotool_tool_breaker_open", text, labels=("tool",))
        for tool, is_open in self.states().items():
            gauge.add_metric((tool,), is_open)
        yield gauge
