"""Bad input: OpenAI's error shape, the field's name, no echo, nothing left in the engine."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.serving import MODEL, failing, running, scripted

from autotool_core.errors import EngineError, InvalidRequestError, UpstreamError
from autotool_core.profile import BUILTIN
from autotool_server.errors import OverloadedError, RateLimitedError, UnauthorizedError, describe, location

ROOT = Path(__file__).parents[3]
USER = [{"role": "user", "content": "Hi"}]
SECRET = "swordfish"
JSON = {"content-type": "application/json"}

CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("no messages", {"model": "tested", "messages": []}, "messages"),
    ("number as text", {"temperature": "0.5"}, "temperature"),
    ("flag as number", {"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ("count above 32 bits", {"max_completion_tokens": 10**100}, "max_completion_tokens"),
    ("function name with a newline", {"tools": [{"type": "function", "function": {"name": "f\n"}}]}, "tools.0.function.name"),
    (
        "two reasonings",
        {"model": "tested", "messages": [{"role": "assistant", "reasoning": "a", "reasoning_content": SECRET}]},
        "messages.0",
    ),
    (
        "schema that no grammar enforces",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"not": {"const": SECRET}}}}},
        "response_format.json_schema.schema",
    ),
    (
        "deeply nested arguments",
        {
            "messages": [
                *USER,
                {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[" * 20000}}]},
            ]
        },
        "messages",
    ),
    ("messages of a wrong type", {"model": "tested", "messages": SECRET}, "messages"),
    ("message without a role", {"model": "tested", "messages": [{"content": SECRET}]}, "messages.0.role"),
    ("unknown role", {"model": "tested", "messages": [{"role": SECRET, "content": "x"}]}, "messages.0.role"),
    (
        "image part",
        {"model": "tested", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages.0.content.0.type",
    ),
    ("unknown mode", {"mode": SECRET}, "mode"),
    ("mode against effort", {"mode": "long", "reasoning_effort": "none"}, "mode"),
    ("mode against alias", {"mode": "long", "model": f"{MODEL}:short"}, "mode"),
    ("unknown model", {"model": SECRET}, "model"),
    ("unknown field", {"frobnicate": SECRET}, "frobnicate"),
    ("unsupported field", {"web_search_options": {}}, "web_search_options"),
    ("template argument of the server's own", {"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
    ("mode of another type", {"chat_template_kwargs": {"enable_thinking": 1}}, "chat_template_kwargs.enable_thinking"),
    ("temperature as text", {"temperature": SECRET}, "temperature"),
    ("temperature out of range", {"temperature": 3}, "temperature"),
    ("penalty that makes logits infinite", {"repetition_penalty": 1e-40, "temperature": 1}, "repetition_penalty"),
    ("n of nothing", {"n": 0}, "n"),
    ("n above the limit", {"n": 1000}, "n"),
    ("no tokens", {"max_tokens": 0}, "max_tokens"),
    ("two limits", {"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
    ("prompt above the context", {"model": "tested", "messages": [{"role": "user", "content": SECRET * 1000}]}, "messages"),
    ("budget below nothing", {"max_reasoning_tokens": -1}, "max_reasoning_tokens"),
    ("empty stop", {"stop": ""}, "stop"),
    ("bias of no token", {"logit_bias": {"999999": 1}}, "logit_bias"),
    ("top_logprobs alone", {"top_logprobs": 2}, "top_logprobs"),
    ("tool of another type", {"tools": [{"type": "custom", "custom": {}}]}, "tools.0.type"),
    ("tool with a bad name", {"tools": [{"type": "function", "function": {"name": "a<b"}}]}, "tools.0.function.name"),
    (
        "tool with a bad schema",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": SECRET}}}]},
        "tools.0.function.parameters",
    ),
    ("two tools of a name", {"tools": [{"type": "function", "function": {"name": "f"}}] * 2}, "tools.1.function.name"),
    ("choice without tools", {"tool_choice": "required"}, "tool_choice"),
    (
        "choice of another tool",
        {
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "tool_choice": {"type": "function", "function": {"name": SECRET}},
        },
        "tool_choice.function.name",
    ),
    (
        "invalid schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": SECRET}}}},
        "response_format.json_schema.schema",
    ),
    ("schema missing", {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ("tool choice of another type", {"tool_choice": {"type": "custom", "custom": {"name": SECRET}}}, "tool_choice.type"),
    ("tool choice without a function", {"tool_choice": {"type": "function"}}, "tool_choice.function"),
    ("tool choice as a number", {"tool_choice": 3}, "tool_choice"),
    (
        "unknown key of a tool choice",
        {"tool_choice": {"type": "function", "function": {"name": "f"}, SECRET[:4]: 1}},
        "tool_choice.swor",
    ),
    ("unknown form", {"response_format": {"type": SECRET}}, "response_format.type"),
    (
        "unknown key of a schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "x": 1}}},
        "response_format.json_schema.x",
    ),
    ("stop of a wrong type", {"stop": {"x": SECRET}}, "stop"),
    ("one stop of a wrong type", {"stop": ["a", 1]}, "stop.1"),
    (
        "part of a wrong type",
        {"model": "tested", "messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]},
        "messages.0.content.0.text",
    ),
    ("content of a wrong type", {"model": "tested", "messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
    ("strict of a wrong type", {"tools": [{"type": "function", "function": {"name": "f"}, "strict": 1}]}, "tools.0.strict"),
    (
        "strict of a function",
        {"tools": [{"type": "function", "function": {"name": "f", "strict": 1}}]},
        "tools.0.function.strict",
    ),
    (
        "call without arguments",
        {"model": "tested", "messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}]},
        "messages.0.tool_calls.0.function.arguments",
    ),
]


LOCATED = {
    "tools": [{"type": "function", "function": {"name": "f", "strict": True}, "strict": 1}],
    "response_format": {"type": "json_schema", "json_schema": {"schema": 3}},
}


@pytest.mark.parametrize(
    ("parts", "missing", "path"),
    [
        (("tools", 0, "function", "strict"), False, "tools.0.strict"),
        (("tools", 0, "function", "function", "strict"), False, "tools.0.function.strict"),
        (("tools", 0, "function", "function", "parameters"), True, "tools.0.function.parameters"),
        (("response_format", "json_schema", "schema"), False, "response_format.json_schema.schema"),
        (("tool_choice", "NamedToolChoice", "function"), False, ""),
    ],
)
def test_a_field_has_the_clients_name_without_the_tags_of_unions(
    parts: tuple[int | str, ...], missing: bool, path: str
) -> None:
    assert ".".join(map(str, location(parts, LOCATED, missing=missing))) == path


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_bad_fields(body: dict[str, Any], field: str | None, stream: bool) -> None:
    engine = scripted("x")
    async with running(engine, unknown_fields="refuse") as server, httpx.AsyncClient() as client:
        response = await client.post(
            f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "stream": stream} | body
        )
        error = response.json()["error"]
        assert response.status_code == (404 if field == "model" else 400)
        assert set(error) == {"message", "type", "param", "code"}
        assert error["param"] == field
        assert SECRET not in response.text
        assert len(response.content) < 600
        assert engine.requests == []
        assert server.state.admission.in_flight == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"[" * 100_000,
        b'{"model": "tested", "messages": NaN}',
        b'{"user": "\\ud800"}',
        b'{"user": "\xed\xa0\x80"}',
    ],
)
async def test_bad_json(raw: bytes) -> None:
    async with running(scripted("x")) as server, httpx.AsyncClient() as client:
        response = await client.post(f"{server.url}/chat/completions", content=raw, headers=JSON)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert len(response.content) < 400


async def test_body_of_20_mb() -> None:
    async with running(scripted("x")) as server, httpx.AsyncClient() as client:
        body = json.dumps({"model": "tested", "messages": [{"role": "user", "content": "x" * 20 * 2**20}]})
        response = await client.post(f"{server.url}/chat/completions", content=body, headers=JSON)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "body_too_large"
        assert (await client.get(f"{server.url.removesuffix('/v1')}/health/ready")).status_code == 200


async def test_unknown_path_and_method() -> None:
    async with running(scripted("x")) as server, httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/nothing")).json()["error"]["message"] == "Not Found"
        assert (await client.get(f"{server.url}/chat/completions")).status_code == 405
        assert (await client.post(f"{server.url}/chat/completions/", json={})).status_code == 307


def test_the_reference_has_every_status_of_an_error() -> None:
    sources = [path.read_text() for path in (ROOT / "server/autotool_server").rglob("*.py")]
    raised = {int(status) for source in sources for status in re.findall(r"\bstatus=([45]\d\d)\b", source)}
    limited = RateLimitedError("", "requests", "rate_limit_exceeded", {})
    errors = (EngineError(), UpstreamError(), OverloadedError("", "stopping"), UnauthorizedError(), limited, ValueError())
    described = {describe(error)[0] for error in errors}
    of_routing = {307, 405}
    documented = {
        int(status) for status in re.findall(r"^\| (\d{3})", (ROOT / "docs/reference/api.md").read_text(), re.MULTILINE)
    }
    assert documented == raised | described | of_routing | {InvalidRequestError("").status}


async def test_mode_that_the_model_cannot_do() -> None:
    async with running(scripted("x"), BUILTIN["plain"]) as server, httpx.AsyncClient() as client:
        for mode, status in (("long", 400), ("auto", 400), ("short", 200)):
            response = await client.post(
                f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "mode": mode}
            )
            assert response.status_code == status
        assert (await client.get(f"{server.url}/models")).json()["data"][0]["modes"] == ["short"]
        assert (await client.get(f"{server.url}/models/{MODEL}:short")).status_code == 200
        assert (await client.get(f"{server.url}/models/{MODEL}:long")).status_code == 404


async def test_api_key() -> None:
    async with running(scripted("x"), api_key="hunter2") as server, httpx.AsyncClient() as client:
        for path in ("chat/completions", "models", f"models/{MODEL}"):
            method = "POST" if path.startswith("chat") else "GET"
            response = await client.request(method, f"{server.url}/{path}", headers={"Authorization": "Bearer nope"})
            assert response.status_code == 401
        headers = {"Authorization": "Bearer hunter2"}
        assert (await client.get(f"{server.url}/models", headers=headers)).status_code == 200
        assert (await client.get(f"{server.url.removesuffix('/v1')}/health/ready")).status_code == 200


async def test_stream_options_without_a_stream() -> None:
    async with running(scripted("x")) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "stream_options": {"include_usage": True}}
        response = await client.post(f"{server.url}/chat/completions", json=body)
        assert response.status_code == 400
        assert "stream_options" in response.json()["error"]["message"]


async def test_overload_says_when_to_come_back() -> None:
    async with running(scripted("x"), max_concurrent_requests=1) as server, httpx.AsyncClient() as client:
        with server.state.admission.slot():
            for stream in (False, True):
                response = await client.post(
                    f"{server.url}/chat/completions", json={"model": "tested", "messages": USER, "stream": stream}
                )
                assert response.status_code == 503
                assert response.headers["retry-after"]
                assert response.json()["error"]["code"] == "overloaded"
        assert 'status="503"} 2.0' in server.state.metrics.page().decode()


async def test_loading_is_live_and_not_ready() -> None:
    async with running(scripted("x")) as server, httpx.AsyncClient() as client:
        server.state._service = None
        base = server.url.removesuffix("/v1")
        assert (await client.get(f"{base}/health/live")).status_code == 200
        assert (await client.get(f"{base}/health/ready")).status_code == 503
        assert (
            await client.post(f"{server.url}/chat/completions", json={"model": "tested", "messages": USER})
        ).status_code == 503


@pytest.mark.parametrize("parameters", [{"not": {}}, {"properties": {"a": {"$ref": "#/x"}}}])
async def test_a_schema_that_cannot_be_enforced_is_named_by_its_path(parameters: dict[str, Any]) -> None:
    functions = [{"name": "f"}, {"name": "g", "strict": True, "parameters": {"type": "object", **parameters}}]
    bodies: dict[str, dict[str, Any]] = {
        "chat/completions": {"messages": USER, "tools": [{"type": "function", "function": each} for each in functions]},
        "responses": {"input": "?", "tools": [{"type": "function", **each} for each in functions]},
    }
    async with running(scripted("x")) as server, httpx.AsyncClient() as client:
        for path, field in (("chat/completions", "tools.1.function.parameters"), ("responses", "tools.1.parameters")):
            answer = await client.post(f"{server.url}/{path}", json={"model": "tested", **bodies[path]})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


def test_a_wrong_remote_server_is_an_engine_error_that_waiting_does_not_mend() -> None:
    status, body, headers = describe(UpstreamError("The remote server does not answer in JSON."))
    assert (status, body["error"]["code"], headers) == (502, "engine_error", {})


async def test_engine_failure_is_a_status_before_the_first_token_and_an_event_after() -> None:
    async with running(engine := scripted("xyz")) as server, httpx.AsyncClient() as client:
        failing(engine)
        for stream in (False, True):
            body = {"model": "tested", "messages": USER, "mode": "short", "stream": stream}
            response = await client.post(f"{server.url}/chat/completions", json=body)
            assert response.status_code == 503
            assert response.headers["retry-after"]
            assert response.json()["error"]["code"] == "engine_error"
        failing(engine, after=2)
        lines = (await client.post(f"{server.url}/chat/completions", json=body)).text.strip().split("\n\n")
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["message"] == "The engine is gone."
        assert "[DONE]" not in lines[-1]
        await server.idle()
