"""HTTP endpoints as tools: requests, rejected arguments, and the results that the model reads."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, Policy, ToolError
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources.http import HttpEntry, HttpSource, HttpTool
from autotool_server.tracing import spans

KEY = "key-of-the-weather-service"
PLACE = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {}}, "required": ["city"]}


def entry(**endpoint: Any) -> HttpEntry:
    given = {"name": "get", "path": "/cities/{city}", "description": "The weather.", "parameters": PLACE} | endpoint
    headers = {"Authorization": "Bearer ${KEY}"}
    return HttpEntry(base_url="https://api.test/v1", headers=headers, endpoints=[given])  # pyright: ignore[reportArgumentType]


def fine(headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"fine"))


class Service:
    """Replaces the network and records the requests."""

    def __init__(self, response: httpx.Response | Exception) -> None:
        self.response = response
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.response, Exception):
            raise self.response
        return self.response


@asynccontextmanager
async def tool_of(given: HttpEntry, service: Service) -> AsyncIterator[HttpTool]:
    """Return the entry's first tool, with the network of its client replaced by the service."""
    source = HttpSource("weather", given, Secrets({"KEY": KEY}))
    await source.start()
    (tool,) = source.tools
    assert isinstance(tool, HttpTool)
    tool.client._transport = httpx.MockTransport(service)
    yield tool
    await source.stop()


async def sent(given: HttpEntry, arguments: Mapping[str, Any]) -> httpx.Request:
    service = Service(fine())
    async with tool_of(given, service) as tool:
        assert await tool.call(arguments) == b"fine"
    return service.requests[0]


async def test_the_trace_of_a_call_is_passed_on() -> None:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}

    class Traced(spans.Span):
        @property
        def headers(self) -> Mapping[str, str]:
            return trace

    with spans.entered(Traced()):
        request = await sent(entry(), {"city": "Rome"})
    assert request.headers.items() >= trace.items()
    assert "traceparent" not in (await sent(entry(), {"city": "Rome"})).headers


async def test_get() -> None:
    request = await sent(entry(), {"city": "São Paulo?#%2e", "unit": "a&b=c", "list": [1, "x"], "none": None, "yes": True})
    assert str(request.url) == ("https://api.test/v1/cities/S%C3%A3o%20Paulo%3F%23%252e?unit=a%26b%3Dc&list=1&list=x&yes=true")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["host"] == "api.test"
    assert request.content == b""


async def test_no_arguments() -> None:
    request = await sent(entry(path="/all", parameters={"type": "object"}), {})
    assert str(request.url) == "https://api.test/v1/all"


async def test_post_sends_json() -> None:
    request = await sent(entry(method="POST"), {"city": "Bern", "unit": {"a": [None, 1.5]}, "text": "ü"})
    assert str(request.url) == "https://api.test/v1/cities/Bern"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"unit": {"a": [None, 1.5]}, "text": "ü"}


async def test_post_without_more_sends_an_object() -> None:
    assert (await sent(entry(method="PUT"), {"city": "Bern"})).content == b"{}"


@pytest.mark.parametrize(
    ("method", "read_only", "idempotent"),
    [("GET", True, True), ("HEAD", True, True), ("PUT", False, True), ("DELETE", False, True), ("POST", False, False),
     ("PATCH", False, False)],
)  # fmt: skip
async def test_policy_of_methods(method: str, read_only: bool, idempotent: bool) -> None:
    async with tool_of(entry(method=method), Service(httpx.Response(200))) as tool:
        assert (tool.spec.policy.read_only, tool.spec.policy.idempotent) == (read_only, idempotent)
        assert (tool.spec.name, tool.spec.description, tool.spec.parameters) == ("weather.get", "The weather.", PLACE)


@pytest.mark.parametrize("city", ["", "..", ".", "../admin", "a/b", "a\\b", "/", "//evil.test", None, "\ud800"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_way_out_of_the_path(city: Any, method: str) -> None:
    service = Service(httpx.Response(200))
    async with tool_of(entry(method=method), service) as tool:
        with pytest.raises(ToolError):
            await tool.call({"city": city})
    assert not service.requests


async def test_dots_put_together() -> None:
    both = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]}
    async with tool_of(entry(path="/x/{a}{b}/y", parameters=both), Service(httpx.Response(200))) as tool:
        with pytest.raises(ToolError, match=r"'\.\.'"):
            await tool.call({"a": ".", "b": "."})


@pytest.mark.parametrize("value", [float("nan"), "\ud800"])
async def test_what_has_no_form(value: Any) -> None:
    async with tool_of(entry(method="POST"), Service(httpx.Response(200))) as tool:
        with pytest.raises(ToolError, match="cannot be sent"):
            await tool.call({"city": "Bern", "value": value})


async def test_error_status() -> None:
    service = Service(httpx.Response(404, stream=httpx.ByteStream(b"no such city " + b"x" * 50_000)))
    async with tool_of(entry(), service) as tool:
        with pytest.raises(ToolError) as error:
            await tool.call({"city": "Bern"})
    assert str(error.value) == "HTTP 404: no such city " + "x" * 487


async def test_a_secret_in_an_error_is_not_cut_in_half() -> None:
    """The executor redacts whole secrets, so the text must not be cut within one."""
    body = "x" * 490 + KEY
    async with tool_of(entry(), Service(httpx.Response(401, stream=httpx.ByteStream(body.encode())))) as tool:
        with pytest.raises(ToolError) as error:
            await tool.call({"city": "Bern"})
    assert KEY[:8] not in str(error.value)


async def test_redirects_are_not_followed() -> None:
    service = Service(httpx.Response(302, headers={"Location": "https://evil.test/"}, stream=httpx.ByteStream(b"")))
    async with tool_of(entry(), service) as tool:
        with pytest.raises(ToolError, match=r"^HTTP 302$"):
            await tool.call({"city": "Bern"})
    assert [request.url.host for request in service.requests] == ["api.test"]


async def test_cookies_are_not_kept() -> None:
    service = Service(fine({"Set-Cookie": "session=1; Path=/"}))
    async with tool_of(entry(), service) as tool:
        await tool.call({"city": "Bern"})
        service.response = fine()
        await tool.call({"city": "Bern"})
    assert "cookie" not in service.requests[1].headers


async def test_neither_proxy_nor_netrc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with tool_of(entry(), Service(httpx.Response(200))) as tool:
        assert not tool.client._mounts
        assert not tool.client.trust_env


async def test_broken_text_and_other_encodings() -> None:
    service = Service(httpx.Response(200, stream=httpx.ByteStream(b"caf\xe9")))
    async with tool_of(entry(), service) as tool:
        assert await tool.call({"city": "Bern"}) == b"caf\xe9"
        head = {"Content-Type": "text/plain; charset=latin-1"}
        service.response = httpx.Response(200, headers=head, stream=httpx.ByteStream(b"caf\xe9"))
        assert await tool.call({"city": "Bern"}) == "café"
        service.response = httpx.Response(204, stream=httpx.ByteStream(b""))
        assert await tool.call({"city": "Bern"}) == "HTTP 204"


async def test_oversize() -> None:
    service = Service(httpx.Response(200, stream=httpx.ByteStream(b"x" * 101)))
    async with tool_of(entry(), service) as tool:
        small = replace(tool, spec=replace(tool.spec, policy=Policy(max_result_bytes=100)))
        with pytest.raises(OversizeError):
            await small.call({"city": "Bern"})


@pytest.mark.parametrize(
    ("error", "message"),
    [(httpx.ConnectError("10.0.0.7 refused"), "The service cannot be reached."),
     (httpx.ReadError("socket 12"), "The service broke off the connection before it had answered."),
     (httpx.RemoteProtocolError("h11 state"), "The service broke off the connection before it had answered.")],
)  # fmt: skip
async def test_no_inner_details(error: Exception, message: str) -> None:
    async with tool_of(entry(), Service(error)) as tool:
        with pytest.raises(ToolError) as raised:
            await tool.call({"city": "Bern"})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "get weather"}, "is not a name for a tool"),
        ({"name": "x" * 60}, "is not a name for a tool"),
        ({"path": "/{town}"}, r"\{town\} of the path must be a required property"),
        ({"path": "/{unit}"}, r"\{unit\} of the path must be a required property"),
        ({"parameters": {"type": "string"}, "path": "/"}, "of type 'object'"),
    ],
)
async def test_endpoints_that_stop_the_start(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AutoToolError, match=message) as error:
        await HttpSource("weather", entry(**changes), Secrets({"KEY": KEY})).start()
    assert "[http.weather]" in str(error.value)


@pytest.mark.parametrize("path", ["cities", "//evil.test\n", "/a?b=1", "/a#b", "/a b"])
def test_invalid_paths(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        entry(path=path)


@pytest.mark.parametrize(
    "base", ["api.test", "ftp://api.test", "https://", "https://user:pw@api.test", "https://a.test?b", "http://a.test:x"]
)
async def test_invalid_base_urls(base: str) -> None:
    given = entry().model_copy(update={"base_url": base})
    with pytest.raises(AutoToolError, match=r"\[http.weather\] base_url must be"):
        await HttpSource("weather", given, Secrets({"KEY": KEY})).start()


async def test_duplicate_names() -> None:
    given = entry()
    twice = given.model_copy(update={"endpoints": [*given.endpoints, *given.endpoints]})
    with pytest.raises(AutoToolError, match=r"two tools named weather\.get"):
        await HttpSource("weather", twice, Secrets({"KEY": KEY})).start()


@pytest.mark.parametrize("value", ["two\nlines", "end\n", "ümlaut", " blank"])
async def test_a_secret_that_no_header_can_hold(value: str) -> None:
    given = entry().model_copy(update={"headers": {"X-Key": "${KEY}"}})
    with pytest.raises(AutoToolError, match=r"headers\.X-Key must be one line of ASCII") as error:
        await HttpSource("weather", given, Secrets({"KEY": value})).start()
    assert value not in str(error.value)


async def test_missing_secret() -> None:
    with pytest.raises(AutoToolError, match=r"\[http.weather\] headers.Authorization needs the environment variable KEY"):
        await HttpSource("weather", entry(), Secrets({})).start()
