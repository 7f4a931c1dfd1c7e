"""Prometheus metrics, prefix `autotool_`. The default registry, where vLLM keeps its own, is shown on the same page."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autotool_server.audit.auditor import Ending
from autotool_server.conversation.choice import Generation
from autotool_server.conversation.job import Job
from autotool_server.conversation.turn import Turn
from autotool_server.targets.controller import Controller
from autotool_server.targets.load import LoadRelief
from autotool_server.tools.metrics import ToolMetrics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
PER_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
PROBABILITIES = tuple(tenth / 10 for tenth in range(1, 10))

Exemplar = dict[str, str] | None

CLIENT_GONE = 499
"""Status of a request whose client left, as nginx reports it."""


class Metrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.in_flight = Gauge("autotool_requests_in_flight", "Requests being served", registry=registry)
        self.ready = Gauge("autotool_ready", "Whether requests are taken (1), and not while the model loads", registry=registry)
        self.engine_restarts = Counter(
            "autotool_engine_restarts", "Starts of the engine after it had failed", registry=registry
        )
        self.connections = Gauge("autotool_connections", "Connections of clients that are open", registry=registry)
        self.connections_refused = Counter(
            "autotool_connections_refused",
            "Connections closed, or answered 503, because there were too many",
            registry=registry,
        )
        self.body_bytes = Gauge(
            "autotool_request_body_bytes", "Bodies of requests that are read or answered, in bytes", registry=registry
        )
        self.queue_requests = Gauge("autotool_queue_requests", "Requests that wait to be admitted", registry=registry)
        self.queue_tokens = Gauge(
            "autotool_queue_tokens", "Tokens that the waiting requests are expected to need", registry=registry
        )
        self.queue_seconds = Histogram(
            "autotool_queue_seconds",
            "Time that requests wait to be admitted, or until they are refused",
            buckets=SECONDS,
            registry=registry,
        )
        self.requests = Counter(
            "autotool_requests",
            "Requests by the mode asked for, what it resolved to (none: ended before or plain text, mixed: n > 1) and status",
            ("mode", "resolved", "status"),
            registry=registry,
        )
        self.p_long = Histogram(
            "autotool_p_long", "Unbiased probability of the long decision token", buckets=PROBABILITIES, registry=registry
        )
        self.targets = _TargetGauges(registry)
        self.load_pressure = Gauge(
            "autotool_load_pressure", "Expected time to a first token in parts of slo_first_token", registry=registry
        )
        self.load_bias = Gauge("autotool_load_bias", "Log-odds that the load adds to long in auto", registry=registry)
        self.load_share = Gauge(
            "autotool_load_share", "Part of the usual longest thought that the load leaves to think blocks", registry=registry
        )
        self.load_share.set(1)
        self.tokens = Counter(
            "autotool_tokens",
            "Tokens by resolved mode and kind: prompt, cached (a part of prompt), decision, reasoning, content",
            ("resolved", "kind"),
            registry=registry,
        )
        self.first_token = self._seconds("autotool_time_to_first_token_seconds", "Until the first decoded token", SECONDS)
        self.first_content = self._seconds(
            "autotool_time_to_first_content_token_seconds", "Until the first content or tool-call token", SECONDS
        )
        self.per_token = self._seconds(
            "autotool_time_per_output_token_seconds", "Mean time between decoded tokens of a turn", PER_TOKEN_SECONDS
        )
        self.request_seconds = self._seconds("autotool_request_seconds", "Whole request", SECONDS)
        self.limited = Counter(
            "autotool_requests_limited", "Requests refused by a limit of their key", ("limit",), registry=registry
        )
        self.spend_store_up = Gauge(
            "autotool_spend_store_up", "Whether the spend store answers (1) or is lost (0)", registry=registry
        )
        self.spend_store_up.set(1)
        self.spend_store_failures = Counter(
            "autotool_spend_store_failures", "Writes and reads at which the spend store failed", registry=registry
        )
        self.audits = Counter(
            "autotool_audits",
            "Answers in the other mode, by how they ended: done, dropped, failed",
            ("outcome",),
            registry=registry,
        )
        self.audit_tokens = Counter(
            "autotool_audit_tokens", "Decoded tokens of audits, which no other metric counts", ("resolved",), registry=registry
        )
        self.tools = ToolMetrics(registry)

    def show_load(self, load: LoadRelief) -> None:
        """Show what turns are spared from now on."""
        self.load_pressure.set_function(load.pressure)
        self.load_bias.set_function(lambda: load.relief().bias)
        self.load_share.set_function(lambda: load.relief().share)

    def page(self, encode: Callable[[Collector], bytes] = generate_latest) -> bytes:
        """Return all metrics in a format, by default Prometheus' text. OpenMetrics has exemplars, which lead to traces."""
        return encode(_Both((self.registry, REGISTRY)))

    def refused(self, status: int) -> None:
        """Count a request that never became a job."""
        self.requests.labels("none", "none", str(status)).inc()

    def audited(self, outcome: Ending, turn: Turn | None) -> None:
        """Account for an audit, and for the turn that it has decoded, if any."""
        self.audits.labels(outcome).inc()
        if turn is not None:
            self.audit_tokens.labels(turn.resolved.value).inc(turn.ledger.completion_tokens)

    def ended(self, job: Job, started: float, status: int, exemplar: Exemplar = None) -> None:
        """Account for a job, however it ended. `exemplar`: the labels of its trace."""
        resolved = {_resolved(turn) for turn in job.turns if turn.ledger.completion_tokens}
        label = resolved.pop() if len(resolved) == 1 else "mixed" if resolved else "none"
        self.requests.labels(job.mode.value if job.mode is not None else "none", label, str(status)).inc()
        self.request_seconds.labels(label).observe(time.perf_counter() - started, exemplar)
        for choice in job.choices:
            for number, turn in enumerate(choice.turns):
                self._turn(turn, started if number == 0 else turn.ledger.started_at, exemplar)
            if choice.transcript is not None:
                self.tools.loop_ended(choice.records(), choice.stop_reason)
        # Once, as in the answer's usage, whatever the number of choices.
        for turn in job.charged_turns:
            self._count(turn, prompt=turn.prompt_tokens, cached=turn.ledger.cached_tokens)

    def _count(self, turn: Generation, **tokens: int) -> None:
        """Count tokens by kind, if the turn has started."""
        if turn.ledger.first_token_at is not None:
            for kind, number in tokens.items():
                self.tokens.labels(_resolved(turn), kind).inc(number)

    def _turn(self, turn: Generation, started: float, exemplar: Exemplar) -> None:
        ledger, resolved = turn.ledger, _resolved(turn)
        if ledger.first_token_at is None or ledger.last_token_at is None:
            return
        if turn.p_long is not None:
            self.p_long.observe(turn.p_long)
        self._count(turn, decision=ledger.decision_tokens, reasoning=ledger.reasoning_tokens, content=ledger.content_tokens)
        self.first_token.labels(resolved).observe(ledger.first_token_at - started, exemplar)
        if ledger.first_content_at is not None:
            self.first_content.labels(resolved).observe(ledger.first_content_at - started, exemplar)
        if ledger.completion_tokens > 1:
            between = (ledger.last_token_at - ledger.first_token_at) / (ledger.completion_tokens - 1)
            self.per_token.labels(resolved).observe(between)

    def _seconds(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, ("resolved",), buckets=buckets, registry=self.registry)


@dataclass(frozen=True, slots=True)
class _Both(Collector):
    """The metrics of several registries as one page."""

    registries: Sequence[Collector]

    def collect(self) -> Iterator[Metric]:
        for registry in self.registries:
            yield from registry.collect()


class _TargetGauges(Collector):
    """What holds each target of the operator: its reasoning bias, and thinking rate and tokens of its latest turns."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.controllers: Callable[[], Mapping[str, Controller]] = dict[str, Controller]
        """Returns the controllers by what they are of: `server`, `alias:NAME` or `key:NAME`."""
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        bias = GaugeMetricFamily("autotool_target_bias", "Log-odds that a target adds to long", labels=("scope", "target"))
        rate = GaugeMetricFamily(
            "autotool_target_thinking_rate", "Share of the latest turns of a target that thought", labels=("scope", "target")
        )
        tokens = GaugeMetricFamily(
            "autotool_target_tokens",
            "Mean decoded tokens of the latest turns of a target",
            labels=("scope", "target"),
        )
        for scope, controller in [*self.controllers().items()]:
            labels = (scope, str(controller.target))
            bias.add_metric(labels, controller.bias)
            for family, value in ((rate, controller.thinking_rate), (tokens, controller.mean_tokens)):
                if value is not None:
                    family.add_metric(labels, value)
        yield from (bias, rate, tokens)


def _resolved(turn: Generation) -> str:
    """Return the label of a turn's mode; plain text has none."""
    return turn.resolved.value if turn.resolved is not None else "none"
