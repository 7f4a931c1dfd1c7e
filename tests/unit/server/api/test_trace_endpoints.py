"""Where traces are sent to, and what says that they cannot be."""

import sys

import pytest

from autotool_core.errors import AutoToolError
from autotool_server import tracing
from autotool_server.engines.create import _vllm_args
from autotool_server.settings import Settings


def test_the_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "autotool_server.tracing.otlp", None)
    with pytest.raises(AutoToolError, match=r"otlp_traces_endpoint needs .*'\.\[traces\]'"):
        tracing.open_tracer("http://localhost:4318")


@pytest.mark.parametrize(
    ("given", "protocol", "expected"),
    [
        ("http://localhost:4318", "", ("http://localhost:4318/v1/traces", "http/protobuf")),
        ("https://host/otlp/v1/traces", "", ("https://host/otlp/v1/traces", "http/protobuf")),
        ("https://user:secret@host/otlp/v1/traces", "", "must have no user and no password"),
        ("http://[x", "", "must be the URL of a collector"),
        ("grpc://localhost:4317", "", ("grpc://localhost:4317", "grpc")),
        ("http://localhost:4317", "grpc", ("http://localhost:4317", "grpc")),
        ("grpc://localhost:4317", "http/protobuf", "must be grpc or http/protobuf"),
        ("http://localhost:4318", "http/json", "must be grpc or http/protobuf"),
        ("localhost:4317", "", "must be the URL of a collector"),
        ("http://", "", "must be the URL of a collector"),
    ],
)
def test_endpoints(monkeypatch: pytest.MonkeyPatch, given: str, protocol: str, expected: tuple[str, str] | str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
    if isinstance(expected, str):
        with pytest.raises(AutoToolError, match=expected):
            tracing.endpoint.parse(given)
        return
    found = tracing.endpoint.parse(given)
    assert (found.url, found.protocol) == expected


def test_vllm_traces_to_the_same_place_unless_it_is_given_another() -> None:
    settings = Settings(otlp_traces_endpoint="http://host:1", engine_arg={"seed": 1})
    assert _vllm_args(settings) == {"seed": 1, "otlp_traces_endpoint": "http://host:1/v1/traces"}
    own = Settings(otlp_traces_endpoint="http://host:1", engine_arg={"otlp_traces_endpoint": "http://own"})
    assert _vllm_args(own) == {"otlp_traces_endpoint": "http://own"}
    assert _vllm_args(Settings()) == {}
