"""Request ids, HEAD and other origins, on every answer."""

import logging
from typing import Any

import httpx
import pytest
from support.serving import MODEL, Running, running, scripted

from autotool_core.errors import EngineError

BODY: dict[str, Any] = {"model": "tested", "messages": [{"role": "user", "content": "?"}], "mode": "short"}
ORIGIN = "https://app.example"


def client_of(server: Running) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url.removesuffix("/v1"))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_has_its_own_id_back_or_a_new_one(stream: bool) -> None:
    async with running(scripted("x")) as server, client_of(server) as client:
        body = BODY | {"stream": stream}
        answer = await client.post("/v1/chat/completions", json=body, headers={"x-request-id": "abc-1:2"})
        assert answer.headers.get_list("x-request-id") == ["abc-1:2"]
        made = [(await client.post("/v1/chat/completions", json=body)).headers["x-request-id"] for _ in range(2)]
        assert len({*made}) == 2
        strange = await client.post("/v1/chat/completions", json=body, headers={"x-request-id": "a b" * 100})
        assert len(strange.headers["x-request-id"]) == 32


async def test_errors_have_the_id_too_and_the_log_names_it(caplog: pytest.LogCaptureFixture) -> None:
    async with running(engine := scripted("x")) as server, client_of(server) as client:
        client.headers["x-request-id"] = "known"
        for path in ("/nothing", "/v1/models/nothing", "/v1/chat/completions"):
            assert (await client.get(path)).headers["x-request-id"] == "known"

        def fail() -> None:
            raise EngineError("The engine is gone.")

        engine.gate = fail
        with caplog.at_level(logging.ERROR):
            assert (await client.post("/v1/chat/completions", json=BODY)).status_code == 503
        assert "request known failed: The engine is gone." in caplog.text


async def test_a_fault_of_the_server_has_the_id_and_the_origin_too() -> None:
    async with running(scripted("x"), allowed_origins=("*",)) as server, client_of(server) as client:
        server.state.metrics.page = lambda: 1 / 0  # pyright: ignore[reportAttributeAccessIssue]
        answer = await client.get("/metrics", headers={"x-request-id": "known", "origin": ORIGIN})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        assert answer.headers["x-request-id"] == "known"
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/health", "/ping", "/version", "/health/live", "/metrics", "/v1/models", "/nothing"])
async def test_head_is_get_without_a_body(path: str) -> None:
    async with running(scripted("x")) as server, client_of(server) as client:
        head, get = await client.head(path), await client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type" if get.content else "content-length"]
        assert (await client.head("/v1/chat/completions")).status_code == 405


async def test_no_other_origin_is_allowed_by_default() -> None:
    async with running(scripted("x")) as server, client_of(server) as client:
        answer = await client.get("/v1/models", headers={"origin": ORIGIN})
        assert "access-control-allow-origin" not in answer.headers


async def test_allowed_origins_may_ask_with_a_key_and_read_our_headers() -> None:
    async with running(scripted("x"), allowed_origins=(ORIGIN,), api_key="k") as server, client_of(server) as client:
        wanted = {"origin": ORIGIN, "access-control-request-method": "POST"}
        asked = await client.options(
            "/v1/chat/completions", headers=wanted | {"access-control-request-headers": "authorization,x-any"}
        )
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == ORIGIN
        assert "x-any" in asked.headers["access-control-allow-headers"]
        other = await client.options("/v1/chat/completions", headers=wanted | {"origin": "https://evil.example"})
        assert other.status_code == 400
        for key, status in (("k", 200), ("wrong", 401)):
            headers = {"origin": ORIGIN, "authorization": f"Bearer {key}"}
            answer = await client.post("/v1/chat/completions", json=BODY | {"x": 1}, headers=headers)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            exposed = answer.headers["access-control-expose-headers"].split(", ")
            assert {"x-autotool-ignored", "x-request-id", "request-id"} <= {*exposed}


async def test_a_stream_is_allowed_to_any_origin_with_a_star() -> None:
    async with running(scripted("x"), allowed_origins="*") as server, client_of(server) as client:
        answer = await client.post("/v1/chat/completions", json=BODY | {"stream": True}, headers={"origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert MODEL in answer.text
