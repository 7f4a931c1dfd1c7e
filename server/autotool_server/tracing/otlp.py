"""Export of traces over OTLP by the SDK of OpenTelemetry, which only this module imports.

Variables `OTEL_*` of the SDK hold: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from autotool_server.tracing.endpoint import PROTOCOL_VARIABLES, Endpoint
from autotool_server.tracing.spans import Attributes, Kind, Span

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
"""The longest time that the end of the server waits for spans to be delivered."""
SERVICE = "autotool-server"

# Of what clients send along, only the trace is passed on: baggage would go to every tool's service.
_PROPAGATOR = TraceContextTextMapPropagator()
_KINDS = {"internal": trace.SpanKind.INTERNAL, "client": trace.SpanKind.CLIENT}


class OtlpSpan(Span):
    """A span of OpenTelemetry."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span, contexts.Context())
        self._headers: dict[str, str] | None = None
        self._has_failed = False
        self.is_recording = span.is_recording()

    @property
    def trace_id(self) -> str | None:
        found = self._span.get_span_context()
        return trace.format_trace_id(found.trace_id) if found.is_valid else None

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = dict[str, str]()
            _PROPAGATOR.inject(self._headers, self._context)
        return self._headers

    @property
    def exemplar(self) -> dict[str, str] | None:
        trace_id = self.trace_id if self.is_recording else None
        return None if trace_id is None else {"trace_id": trace_id}

    def child(self, name: str, attributes: Attributes = {}, kind: Kind = "internal") -> Span:  # noqa: B006 it is only read
        if not self.is_recording:
            return self  # no more is known of what is not sampled than its trace, which is the same
        span = self._tracer.start_span(name, self._context, _KINDS[kind], _given(attributes))
        return OtlpSpan(self._tracer, span)

    def past(self, name: str, seconds: float, error_type: str | None = None) -> None:
        if not self.is_recording:
            return
        began = time.time_ns() - round(seconds * 1e9)
        span = OtlpSpan(self._tracer, self._tracer.start_span(name, self._context, start_time=began))
        if error_type is not None:
            span.fail(error_type)
        span.end()

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_given(attributes))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, error_type: str) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(trace.StatusCode.ERROR, error_type)

    def end(self) -> None:
        self._span.end()

    @contextmanager
    def attached(self) -> Iterator[None]:
        token = contexts.attach(self._context)
        try:
            yield
        finally:
            contexts.detach(token)


class Tracer:
    """Makes the spans of requests and sends them to a collector, in a thread of its own and never waited for."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        exporter = Watched(_exporter(endpoint), endpoint.place)
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("autotool_server", version(SERVICE))

    def server_span(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """Start the span of a request, within its caller's trace if its headers name one."""
        context = _PROPAGATOR.extract(headers, contexts.Context())
        return OtlpSpan(self._tracer, self._tracer.start_span(name, context, trace.SpanKind.SERVER, _given(attributes)))

    def install(self) -> None:
        """Let vLLM in this process, and in those that it starts, export its spans in the same way. Once in a process."""
        os.environ.setdefault(PROTOCOL_VARIABLES[0], self._endpoint.protocol)
        os.environ.setdefault("OTEL_SERVICE_NAME", str(self._provider.resource.attributes[SERVICE_NAME]))
        trace.set_tracer_provider(_ForVllm(self._provider))

    async def close(self) -> None:
        """Send what is left, for FLUSH_SECONDS at most."""
        # A daemon: with a collector that hangs it would keep the process.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, FLUSH_SECONDS)


class Watched(SpanExporter):
    """Says once that a collector cannot be reached, and once that it can again. `place`: its host and port."""

    def __init__(self, exporter: SpanExporter, place: str) -> None:
        self._exporter = exporter
        self._place = place
        self._is_lost = False
        log = logging.getLogger("opentelemetry.exporter.otlp")
        if not log.isEnabledFor(logging.DEBUG):
            log.setLevel(logging.CRITICAL)  # else each batch has several lines

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. Those that cannot be sent are dropped."""
        result = self._exporter.export(spans)
        is_lost = result is not SpanExportResult.SUCCESS
        if is_lost and not self._is_lost:
            logger.warning(
                "The collector of traces at %s takes no spans, which are dropped until it does. Check --otlp-traces-endpoint "
                "and %s; --log-level debug shows the cause.",
                self._place,
                PROTOCOL_VARIABLES[0],
            )
        elif self._is_lost and not is_lost:
            logger.warning("The collector of traces at %s takes spans again.", self._place)
        self._is_lost = is_lost
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _ForVllm(trace.TracerProvider):
    """Traces vLLM and nothing else: the SDK of MCP would export what servers say in errors, and every listing of tools."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def get_tracer(self, instrumenting_module_name: str, *args: Any, **kwargs: Any) -> trace.Tracer:
        if not instrumenting_module_name.startswith("vllm"):
            return trace.NoOpTracer()
        return self._provider.get_tracer(instrumenting_module_name, *args, **kwargs)


def _given(attributes: Attributes) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _resource() -> Resource:
    """Return what the variables say of this service; its name if they give it none."""
    resource = Resource.create({"service.version": version(SERVICE)})
    is_named = not str(resource.attributes[SERVICE_NAME]).startswith("unknown_service")
    return resource if is_named else resource.merge(Resource({SERVICE_NAME: SERVICE}))


def _exporter(endpoint: Endpoint) -> SpanExporter:
    if endpoint.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc  # noqa: PLC0415 one of two

        return OverGrpc(endpoint.url, insecure=not endpoint.is_secure)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp  # noqa: PLC0415

    return OverHttp(endpoint.url)
