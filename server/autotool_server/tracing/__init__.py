"""Traces of requests: `spans` is what the rooms of the server use, `otlp` exports it where a collector is named."""

from typing import TYPE_CHECKING

from autotool_core.errors import AutoToolError
from autotool_core.extras import install_command
from autotool_server.tracing import endpoint

if TYPE_CHECKING:
    from autotool_server.tracing.otlp import Tracer


def open_tracer(url: str | None) -> "Tracer | None":
    """Return what sends traces to a collector; None if none is named.

    Raises AutoToolError if the packages for it are not installed, or if the endpoint is none.
    """
    if url is None:
        return None
    collector = endpoint.parse(url)
    try:
        from autotool_server.tracing.otlp import Tracer  # noqa: PLC0415 an optional extra

        return Tracer(collector)
    except ImportError:
        raise AutoToolError(
            f"Setting otlp_traces_endpoint needs the packages of OpenTelemetry: {install_command('traces')}."
        ) from None
