"""Settings of observability: the log of requests, other messages, and traces."""

from typing import Literal

from autotool_server.settings.group import SettingsGroup, Text


class ObservabilitySettings(SettingsGroup):
    """What the server writes and sends about its work."""

    log_requests: Literal["off", "short", "json"] = "short"
    """Line that is written to standard output for every request but health probes: short is for people, json for programs.
    It has modes, tokens, times and the status, never a prompt or an answer."""

    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """Least severe messages to show on standard error. Default: warnings of this server, and errors of the libraries that
    it uses."""

    otlp_traces_endpoint: Text | None = None
    """Collector of OpenTelemetry to send a trace of every request to, such as http://localhost:4318/v1/traces, or
    grpc://localhost:4317 for OTLP over gRPC (extra traces; docs/guides/traces.md). The variables OTEL_* hold for it. It has no
    prompts, arguments or results. Default: no traces."""
