"""Collectors of OpenTelemetry: they receive spans as OTLP, over HTTP or gRPC, and keep them."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

ERROR = 2
"""The code of a status."""


@dataclass(frozen=True)
class Collected:
    """A span as it came."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent: str
    status: tuple[int, str]
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    seconds: float


@dataclass
class Collector:
    """The spans that have come, in the order of their ends."""

    url: str = ""
    spans: list[Collected] = field(default_factory=list[Collected])
    status: int = 200
    """What the next batches are answered with."""
    num_batches: int = 0

    def named(self, beginning: str) -> list[Collected]:
        """Return the spans whose name begins so."""
        return [span for span in self.spans if span.name.startswith(beginning)]

    def has_received(self, count: int) -> bool:
        """Return whether so many batches have come, whatever they were answered with."""
        return self.num_batches >= count

    def one(self, beginning: str) -> Collected:
        """Return the only span whose name begins so."""
        [span] = self.named(beginning)
        return span

    def children(self, parent: Collected) -> list[str]:
        """Return the names of the spans right below another one, in the order of their ends."""
        return [span.name for span in self.spans if span.parent == parent.id]

    async def holds(self, beginning: str, count: int = 1) -> list[Collected]:
        """Return the spans whose name begins so, once so many are here; fails after some seconds."""
        for _ in range(500):
            if len(found := self.named(beginning)) >= count:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"{count} of {beginning!r} did not come: {[span.name for span in self.spans]}")


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.num_batches += 1
            if self.path == "/v1/traces" and collector.status == 200:
                collector.spans += _read(ExportTraceServiceRequest.FromString(body))
            self.send_response(collector.status if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def collecting_over_grpc() -> Iterator[Collector]:
    """Run a collector that speaks gRPC without TLS."""
    collector = Collector()

    class Service(TraceServiceServicer):
        def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: N802 the name of the protocol
            collector.num_batches += 1
            collector.spans += _read(request)
            return ExportTraceServiceResponse()

    server: Any = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Service(), server)
    collector.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _read(request: ExportTraceServiceRequest) -> list[Collected]:
    return [
        Collected(
            name=span.name,
            kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
            trace_id=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            status=(span.status.code, span.status.message),
            attributes=_values(span.attributes),
            resource=_values(resource.resource.attributes),
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)
