"""Probes, and routes that are not served."""

import httpx
import pytest
from support.serving import Running, running, scripted

from autotool_core.errors import EngineError

PROBES = [("GET", "/health"), ("GET", "/ping"), ("POST", "/ping")]


def client_of(server: Running) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url.removesuffix("/v1"))


@pytest.mark.parametrize(("method", "path"), PROBES)
async def test_a_probe_needs_no_key_and_says_whether_requests_can_be_served(
    method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise EngineError("The engine is gone.")

    engine = scripted("x")
    async with running(engine, api_key="k") as server, client_of(server) as client:
        ready = await client.request(method, path)
        assert (ready.status_code, ready.content) == (200, b"")
        with monkeypatch.context() as patch:
            patch.setattr(engine, "health", fail)
            assert (await client.request(method, path)).status_code == 503
        server.state._service = None
        assert (await client.request(method, path)).status_code == 503


async def test_a_server_that_stops_is_not_ready_for_prometheus_either() -> None:
    async with running(scripted("x")) as server, client_of(server) as client:
        assert "\nautotool_ready 1.0\n" in (await client.get("/metrics")).text
        server.state.shutdown.drain()
        assert (await client.get("/health/ready")).status_code == 503
        assert "\nautotool_ready 0.0\n" in (await client.get("/metrics")).text


async def test_the_version_is_text() -> None:
    async with running(scripted("x"), api_key="k") as server, client_of(server) as client:
        assert (await client.get("/version")).json()["version"][0].isdigit()


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/embeddings", "embeddings"),
        ("POST", "/v1/images/generations", "images"),
        ("POST", "/v1/audio/speech", "audio"),
        ("GET", "/v1/files", "files"),
        ("DELETE", "/v1/files/x", "files"),
    ],
)
async def test_a_route_that_is_not_served_says_why(method: str, path: str, kind: str) -> None:
    async with running(scripted("x")) as server, client_of(server) as client:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_served")
        assert kind in answer.json()["error"]["message"]
