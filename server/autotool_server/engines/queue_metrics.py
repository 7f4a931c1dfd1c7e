"""Prometheus metrics of an engine's queue, in the default registry, where vLLM keeps its own (`vllm:num_requests_waiting`)."""

from collections.abc import Callable

from prometheus_client import Gauge, Histogram

_WAITING = Gauge("autotool_engine_requests_waiting", "Requests of the transformers engine that wait for a place in its batch")
_RUNNING = Gauge("autotool_engine_requests_running", "Requests of the transformers engine that are in its batch")
SECONDS = Histogram(
    "autotool_engine_queue_seconds",
    "Time that requests of the transformers engine wait for a place in its batch",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)


def watch(waiting: Callable[[], int], in_flight: Callable[[], int]) -> None:
    """Show the numbers of a running engine. Only one runs in a process that serves."""
    _WAITING.set_function(waiting)
    _RUNNING.set_function(lambda: in_flight() - waiting())


def stop_watching() -> None:
    """Show that nothing waits or runs."""
    watch(int, int)
