"""Errors of Anthropic's Messages: their shape, their status, and what becomes of a stream."""

import json
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import ThreadUnsupportedRequestError
from anthropic.types.shared import ErrorResponse
from support.messages import USER, client_of, events
from support.serving import MODEL, Running, failing, held, running, scripted


class TestErrors:
    async def test_a_thread_is_refused_so_that_clients_go_on_without(self) -> None:
        async with running(scripted("x")) as server, client_of(server) as client:
            with pytest.raises(ThreadUnsupportedRequestError, match="leave thread out") as refused:
                await client.beta.messages.create(model=MODEL, max_tokens=9, messages=USER, thread={"type": "create"})
            assert refused.value.details.error_code == "thread_unsupported_request"

    async def _refused(self, server: Running, body: Any, **headers: str) -> tuple[httpx.Response, Any]:
        async with httpx.AsyncClient() as http:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            response = await http.post(
                f"{server.url}/messages", content=content, headers={"content-type": "application/json", **headers}
            )
        error = ErrorResponse.model_validate(response.json(), strict=True)
        assert response.headers["request-id"] == error.request_id
        return response, error

    @pytest.mark.parametrize(
        ("change", "status", "kind"),
        [
            ({"max_tokens": None}, 400, "invalid_request_error"),
            ({"messages": [*USER, {"role": "assistant", "content": "It is"}]}, 400, "invalid_request_error"),
            ({"mod": "long"}, 400, "invalid_request_error"),
            ({"model": "claude-haiku-4-5"}, 404, "not_found_error"),
        ],
    )
    async def test_bad_requests(self, change: Any, status: int, kind: str) -> None:
        async with running(scripted("x")) as server:
            body = {"model": MODEL, "max_tokens": 9, "messages": USER} | change
            for stream in (False, True):
                response, error = await self._refused(server, body | {"stream": stream})
                assert (response.status_code, error.error.type) == (status, kind)
            await server.idle()

    async def test_a_budget_of_all_thinking_between_calls_may_be_more_than_max_tokens(self) -> None:
        body = {"model": MODEL, "max_tokens": 12, "messages": USER, "thinking": {"type": "enabled", "budget_tokens": 20}}
        betas = {"anthropic-beta": "files-api-2025-04-14, interleaved-thinking-2025-05-14"}
        async with running(scripted("x" * 50, "Four.")) as server, httpx.AsyncClient() as http:
            for path in ("messages", "messages/count_tokens"):
                assert (await http.post(f"{server.url}/{path}", json=body)).status_code == 400
                response = await http.post(f"{server.url}/{path}", json=body, headers=betas)
                assert response.status_code == 200
                assert response.json().get("usage", {"output_tokens": 12})["output_tokens"] <= 12

    async def test_keys(self) -> None:
        async with running(scripted("x"), api_key="right") as server:
            body = {"model": MODEL, "max_tokens": 9, "messages": USER}
            for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}):
                response, error = await self._refused(server, body, **headers)
                assert (response.status_code, error.error.type) == (401, "authentication_error")
                assert "x-api-key" in error.error.message
            async with client_of(server, api_key="right") as client:
                assert (await client.messages.create(**body)).type == "message"
            async with httpx.AsyncClient() as http:
                right, wrong = "Bearer right", "Bearer wrong"
                for headers in (
                    {"x-api-key": "right"},
                    {"authorization": right},
                    {"x-api-key": "wrong", "authorization": right},
                    {"x-api-key": "right", "authorization": wrong},
                ):
                    response = await http.post(f"{server.url}/messages", json=body, headers=headers)
                    assert response.status_code == 200

    async def test_a_body_that_is_too_large(self) -> None:
        async with running(scripted("x"), max_body_bytes=1024) as server:
            response, body = await self._raw(server, b"x" * 2000)
            assert (response, body["error"]["type"]) == (413, "request_too_large")

    async def _raw(self, server: Running, content: bytes) -> tuple[int, Any]:
        async with httpx.AsyncClient() as http:
            response = await http.post(f"{server.url}/messages", content=content, headers={"content-type": "application/json"})
        return response.status_code, response.json()

    async def test_overload_is_529_and_says_when_to_come_back(self) -> None:
        body = {"model": MODEL, "max_tokens": 9, "messages": USER}
        async with running(scripted("x"), max_concurrent_requests=1) as server:
            with server.state.admission.slot():
                response, error = await self._refused(server, body)
            assert (response.status_code, error.error.type) == (529, "overloaded_error")
            assert response.headers["retry-after"]
            server.state._service = None
            response, error = await self._refused(server, body)
            assert (response.status_code, error.error.type) == (529, "overloaded_error")

    async def test_engine_failure_is_a_status_before_the_first_token_and_an_event_after(self) -> None:
        async with running(engine := scripted("xyz")) as server, client_of(server) as client:
            failing(engine)
            body: Any = {"model": MODEL, "max_tokens": 9, "messages": USER, "mode": "short"}
            for stream in (False, True):
                response, error = await self._refused(server, body | {"stream": stream})
                assert (response.status_code, error.error.type) == (500, "api_error")
            failing(engine, after=2)
            last = (await events(server, mode="short"))[-1]
            assert ErrorResponse.model_validate(last).error.message == "The engine is gone."
            failing(engine, after=2)
            with pytest.raises(anthropic.APIStatusError, match=r"The engine is gone\."):
                async with client.messages.stream(model=MODEL, max_tokens=9, messages=USER, extra_body={"mode": "short"}) as s:
                    await s.get_final_message()
            await server.idle()

    async def test_a_client_that_leaves_ends_its_request(self) -> None:
        engine = scripted("xyz")
        held(engine)
        async with running(engine) as server, client_of(server) as client:
            async with client.messages.stream(model=MODEL, max_tokens=9, messages=USER, extra_body={"mode": "short"}) as stream:
                await anext(aiter(stream))
            await server.idle()
            assert len(engine.aborted) == 1
