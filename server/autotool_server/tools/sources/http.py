"""HTTP endpoints as tools. Requests go to the operator's host alone, with the operator's headers.

Redirects are not followed: they could send the operator's secrets to another host. Cookies are not kept: the call of one
user must not change that of another.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, ClassVar, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import Tool, ToolError, ToolSpec, TransientError
from autotool_server.tools.entry import Entry, tool_name
from autotool_server.tools.network import charset, read_body, read_prefix, tls_context
from autotool_server.tools.secrets import Secrets
from autotool_server.tracing import spans

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

# RFC 9110, 9.2.1 and 9.2.2.
SAFE_METHODS = {"GET", "HEAD"}
IDEMPOTENT_METHODS = SAFE_METHODS | {"PUT", "DELETE"}

PATH_PARAMETER = re.compile(r"\{([^{}]*)\}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_MAX_ERROR_CHARACTERS = 500
_MAX_ERROR_BYTES = 16 * 1024


class Endpoint(BaseModel):
    """One endpoint, which becomes one tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The tool's name without the namespace."""
    method: Method = "GET"
    path: str = Field(pattern=r"^/[^?#\s]*$")
    """The path below the base URL; `{name}` is replaced by the argument of that name."""
    description: str
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    """JSON schema of the arguments. Arguments outside the path go into the query (GET, HEAD, DELETE) or a JSON body."""


class HttpEntry(Entry):
    """A table `[http.NAME]` of the tools file."""

    base_url: str
    headers: dict[str, str] = Field(default={})
    """Headers of every call; `${NAME}` is read from the environment."""
    endpoints: list[Endpoint] = Field(min_length=1)


EntryT = TypeVar("EntryT", bound=Entry)


@dataclass(frozen=True, slots=True)
class ParameterLocation:
    """The location of an argument in the request."""

    part: Literal["path", "query", "header", "body", "whole body"]
    name: str | None = None
    """The parameter's name in the request; None if it is the argument's name."""
    comma_separated: bool = False
    """Whether a list in the query is one value with commas instead of one value for each item."""


@dataclass(frozen=True, slots=True)
class Route:
    """The mapping of arguments to a request."""

    method: str
    path: str
    locations: Mapping[str, ParameterLocation]
    default_location: ParameterLocation = field(default_factory=lambda: ParameterLocation("body"))
    """The location of arguments that `locations` does not list."""
    needs_body: bool = False
    """Whether to send a JSON object even if it has no properties."""

    def request(self, client: httpx.AsyncClient, arguments: Mapping[str, Any]) -> httpx.Request:
        """Return the request of a call.

        Raises ToolError for an argument that cannot be sent safely, ValueError for one that cannot be sent at all.
        """
        parts: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}, "body": {}, "whole body": {}}
        for name, value in arguments.items():
            location = self.locations.get(name, self.default_location)
            if value is None and location.part in {"query", "header"}:
                continue
            parts[location.part][location.name or name] = _to_text(value) if location.comma_separated else value
        has_body = self.needs_body or parts["body"] or parts["whole body"]
        body = next(iter(parts["whole body"].values()), parts["body"])
        return client.build_request(
            self.method,
            str(client.base_url).rstrip("/") + _fill_path(self.path, parts["path"]),
            params=_query_pairs(parts["query"]) or None,
            headers={name: _header_value(name, value) for name, value in parts["header"].items()},
            json=body if has_body else None,
        )


@dataclass(frozen=True, slots=True)
class HttpTool:
    """A tool that sends one HTTP request."""

    spec: ToolSpec
    route: Route
    client: httpx.AsyncClient
    secrets: Secrets

    async def call(self, arguments: Mapping[str, Any]) -> str | bytes:
        """Send the request and return the body. Raises ToolError for a status other than 2xx, or if there is no response."""
        try:
            request = self.route.request(self.client, arguments)
            request.headers.update(spans.current().headers)
        except (ValueError, httpx.InvalidURL) as error:
            raise ToolError(
                "The arguments cannot be sent over HTTP: they hold text or numbers that have no form there."
            ) from error
        try:
            return await self._send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TransientError("The service cannot be reached.") from error
        except httpx.HTTPError as error:
            raise TransientError("The service broke off the connection before it had answered.") from error

    async def _send(self, request: httpx.Request) -> str | bytes:
        response = await self.client.send(request, stream=True)
        try:
            encoding = charset(response)
            if not response.is_success:
                body = await read_prefix(response, _MAX_ERROR_BYTES)
                # Redacted before the text is cut: half a secret would not be found.
                raise http_error(response, self.secrets.redact(body.decode(encoding, "replace")))
            body = await read_body(response, self.spec.policy.max_result_bytes)
        finally:
            await response.aclose()
        if not body:
            return f"HTTP {response.status_code}"
        return body if encoding == "utf-8" else body.decode(encoding, "replace")


def http_error(response: httpx.Response, text: str) -> ToolError:
    """Return the error of a response that is no success, with the beginning of its text."""
    is_transient = response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error
    kind = TransientError if is_transient else ToolError
    return kind(f"HTTP {response.status_code}: {text[:_MAX_ERROR_CHARACTERS]}".rstrip(": \n"))


class RouteSource(Generic[EntryT]):
    """A source whose tools are requests to one service. It has one HTTP client, and one tool for each route."""

    kind: ClassVar[str]

    def __init__(self, namespace: str, entry: EntryT, secrets: Secrets) -> None:
        self._namespace = namespace
        self._entry = entry
        self._secrets = secrets
        self._source = f"{self.kind}.{namespace}"
        self._label = f"[{self._source}]"
        self._client: httpx.AsyncClient | None = None
        self._tools: Sequence[Tool] = ()

    async def stop(self) -> None:
        """Close the connections."""
        if self._client:
            await self._client.aclose()

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools, one for each route."""
        return self._tools

    def accept(self, name: str) -> None:
        """Do nothing: these tools do not change while the server runs, so none is ever disabled."""

    def _open(self, base: httpx.URL, headers: Mapping[str, str], routes: Sequence[tuple[ToolSpec, Route]]) -> None:
        self._entry.check_tools(self._label, self._namespace, [spec for spec, _ in routes])
        client = self._client = create_client(base, headers)
        self._tools = [HttpTool(spec, route, client, self._secrets) for spec, route in routes]


class HttpSource(RouteSource[HttpEntry]):
    """The source of one `[http.NAME]` table."""

    kind = "http"
    entry_class = HttpEntry

    async def start(self) -> None:
        """Create the tools. Raises AutoToolError, which names the entry, for an invalid name, path or header."""
        headers = fill_headers(self._label, self._entry.headers, self._secrets)
        routes = [self._make(endpoint) for endpoint in self._entry.endpoints]
        self._open(parse_base_url(self._label, self._entry.base_url), headers, routes)

    def _make(self, endpoint: Endpoint) -> tuple[ToolSpec, Route]:
        policy = self._entry.policy(
            endpoint.name, read_only=endpoint.method in SAFE_METHODS, idempotent=endpoint.method in IDEMPOTENT_METHODS
        )
        name = tool_name(self._label, self._namespace, endpoint.name)
        route = _build_route(f"{self._label} endpoint {endpoint.name!r}", endpoint)
        return ToolSpec(name, endpoint.description, endpoint.parameters, policy, source=self._source), route


def fill_headers(label: str, headers: Mapping[str, str], secrets: Secrets) -> dict[str, str]:
    """Return the headers with their secrets filled in. Raises AutoToolError, without the value, for an invalid header."""
    filled = {name: secrets.fill(value, f"{label} headers.{name}") for name, value in headers.items()}
    for name, value in filled.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not _HEADER_VALUE.fullmatch(value):
            raise AutoToolError(f"{label} headers.{name} must be one line of ASCII with no space at its ends.")
    return filled


def parse_base_url(label: str, text: str) -> httpx.URL:
    """Return the URL that the paths are appended to. Raises AutoToolError for an invalid one."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise AutoToolError(f"{label} base_url must be http(s)://host[:port][/path], with no user, query or fragment.")
    return url


def create_client(base: httpx.URL | str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """Return a client of the operator's service, without proxy, .netrc, cookies, redirects and time-out."""
    return httpx.AsyncClient(
        base_url=base,
        headers={"User-Agent": "autotool-server", "Accept-Encoding": "identity"} | dict(headers),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        verify=tls_context(),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 the executor's time-out ends the call
    )


def _build_route(label: str, endpoint: Endpoint) -> Route:
    in_path, schema = PATH_PARAMETER.findall(endpoint.path), endpoint.parameters
    if schema.get("type") != "object":
        raise AutoToolError(f"{label}: parameters must be a JSON schema of type 'object'.")
    for name in in_path:
        if name not in schema.get("properties", {}) or name not in schema.get("required", []):
            raise AutoToolError(f"{label}: {{{name}}} of the path must be a required property of parameters.")
    in_query = endpoint.method in SAFE_METHODS | {"DELETE"}
    locations = {name: ParameterLocation("path") for name in in_path}
    return Route(
        endpoint.method, endpoint.path, locations, ParameterLocation("query" if in_query else "body"), needs_body=not in_query
    )


def _fill_path(path: str, values: Mapping[str, Any]) -> str:
    """Return the path with its arguments, each of which stays within its segment."""
    filled = PATH_PARAMETER.sub(lambda match: _segment(match[1], values), path)
    if {".", ".."} & set(filled.split("/")):
        raise ToolError("A part of the path must not be '.' or '..'.")
    return filled


def _segment(name: str, values: Mapping[str, Any]) -> str:
    text = _to_text(values.get(name))
    # Many servers decode %2F before they choose the route, so encoding a slash would not keep it within the segment.
    if not text or "/" in text or "\\" in text:
        raise ToolError(f"{name} goes into the path: it must not be empty and must hold no '/' or '\\'.")
    return quote(text, safe="")


def _query_pairs(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return a pair of name and text for each value, and for each item of a list."""
    pairs = ((name, item) for name, value in values.items() for item in (value if isinstance(value, list) else [value]))
    return tuple((name, _to_text(item)) for name, item in pairs)


def _header_value(name: str, value: Any) -> str:
    text = _to_text(value)
    if not _HEADER_VALUE.fullmatch(text):
        raise ToolError(f"{name} goes into a header: it must be one line of ASCII.")
    return text


def _to_text(value: Any) -> str:
    """Return a value's text for a URL or a header: text unchanged, a list with commas, null empty, the rest as JSON."""
    if isinstance(value, list):
        return ",".join(map(_to_text, value))
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
