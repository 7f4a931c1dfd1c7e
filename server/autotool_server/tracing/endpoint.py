"""Where traces are sent, and how. This module imports nothing of OpenTelemetry."""

import os
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

from autotool_core.errors import AutoToolError

PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOLS = ("grpc", "http/protobuf")
TRACES_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A collector of OTLP."""

    url: str
    protocol: Literal["grpc", "http/protobuf"]

    @property
    def place(self) -> str:
        """Its host and port."""
        return urlsplit(self.url).netloc

    @property
    def is_secure(self) -> bool:
        """Whether it is reached over TLS."""
        return urlsplit(self.url).scheme == "https"


def parse(text: str) -> Endpoint:
    """Return the collector of a setting: http(s) without a path gets OTLP's, and grpc is gRPC without TLS.

    The protocol is that of the SDK's variables, else OTLP's default. Raises AutoToolError where they do not fit together.
    """
    try:
        url = urlsplit(text)
    except ValueError:
        url = urlsplit("")
    if "@" in url.netloc:
        raise AutoToolError(
            "Setting otlp_traces_endpoint must have no user and no password, which logs may show: send them by the variable "
            "OTEL_EXPORTER_OTLP_HEADERS."
        )
    if url.scheme not in {"http", "https", "grpc"} or not url.netloc:
        raise AutoToolError(
            "Setting otlp_traces_endpoint must be the URL of a collector, such as http://localhost:4318/v1/traces or "
            "grpc://localhost:4317."
        )
    protocol = next(filter(None, map(os.environ.get, PROTOCOL_VARIABLES)), PROTOCOLS[url.scheme != "grpc"])
    if protocol not in PROTOCOLS or (url.scheme == "grpc" and protocol != "grpc"):
        raise AutoToolError(f"{PROTOCOL_VARIABLES[0]} must be grpc or http/protobuf, and grpc for an endpoint grpc://.")
    has_path = url.path.strip("/") != "" or protocol == "grpc"
    return Endpoint(text if has_path else text.rstrip("/") + TRACES_PATH, cast("Literal['grpc', 'http/protobuf']", protocol))
