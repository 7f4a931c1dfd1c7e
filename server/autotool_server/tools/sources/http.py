"""HTTP endpoints as tools, given one by one. Only the operator's host is reached, with the operator's headers.

Redirects are not followed: they could lead the operator's secrets to another host. Cookies are not kept: one user's call
must not change the next one's.
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
from autotool_server.tools.network import certificates, charset, read, read_start
from autotool_server.tools.secrets import Secrets

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

# RFC 9110, 9.2.1 and 9.2.2.
SAFE = {"GET", "HEAD"}
IDEMPOTENT = SAFE | {"PUT", "DELETE"}

IN_PATH = re.compile(r"\{([^{}]*)\}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_ERROR_CHARACTERS = 500
_ERROR_BYTES = 16 * 1024


class Endpoint(BaseModel):
    """One endpoint, one tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Without the namespace."""
    method: Method = "GET"
    path: str = Field(pattern=r"^/[^?#\s]*$")
    """Below the base URL; `{name}` stands for the argument of that name."""
    description: str
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    """JSON schema of the arguments. Those not in the path go into the query (GET, HEAD, DELETE) or a JSON body."""


class HttpEntry(Entry):
    """A table `[http.NAME]` of the tools file."""

    base_url: str
    headers: dict[str, str] = Field(default={})
    """Sent with every call; `${NAME}` is read from the environment."""
    endpoints: list[Endpoint] = Field(min_length=1)


E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an argument goes in the request."""

    where: Literal["path", "query", "header", "body", "whole body"]
    name: str | None = None
    """What it is called there; None where that is the argument's name."""
    joined: bool = False
    """In the query: a list is one value with commas rather than one value for each item."""


@dataclass(frozen=True, slots=True)
class Route:
    """How arguments become a request."""

    method: str
    path: str
    places: Mapping[str, Place]
    rest: Place = field(default_factory=lambda: Place("body"))
    """Where arguments go that have no place of their own."""
    needs_body: bool = False
    """Sends a JSON object even where no argument goes there."""

    def request(self, client: httpx.AsyncClient, arguments: Mapping[str, Any]) -> httpx.Request:
        """The request for a call. Raises ToolError where an argument cannot be sent safely, ValueError where not at all."""
        parts: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}, "body": {}, "whole body": {}}
        for name, value in arguments.items():
            place = self.places.get(name, self.rest)
            if value is None and place.where in {"query", "header"}:
                continue
            parts[place.where][place.name or name] = _text(value) if place.joined else value
        sends = self.needs_body or parts["body"] or parts["whole body"]
        body = next(iter(parts["whole body"].values()), parts["body"])
        return client.build_request(
            self.method,
            str(client.base_url).rstrip("/") + _fill(self.path, parts["path"]),
            params=_query(parts["query"]) or None,
            headers={name: _header(name, value) for name, value in parts["header"].items()},
            json=body if sends else None,
        )


@dataclass(frozen=True, slots=True)
class HttpTool:
    """A tool that is one HTTP request."""

    spec: ToolSpec
    route: Route
    client: httpx.AsyncClient
    secrets: Secrets

    async def call(self, arguments: Mapping[str, Any]) -> str | bytes:
        """Send the request and return its body. Raises ToolError where its status is not 2xx or no answer came."""
        try:
            request = self.route.request(self.client, arguments)
        except (ValueError, httpx.InvalidURL) as error:
            raise ToolError(
                "The arguments cannot be sent over HTTP: they hold text or numbers that have no form there."
            ) from error
        try:
            return await self._answer(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TransientError("The service cannot be reached.") from error
        except httpx.HTTPError as error:
            raise TransientError("The service broke off the connection before it had answered.") from error

    async def _answer(self, request: httpx.Request) -> str | bytes:
        response = await self.client.send(request, stream=True)
        try:
            encoding = charset(response)
            if not response.is_success:
                start = await read_start(response, _ERROR_BYTES)
                # Before the text is cut: half a secret would not be found.
                raise http_error(response, self.secrets.redact(start.decode(encoding, "replace")))
            body = await read(response, self.spec.policy.max_result_bytes)
        finally:
            await response.aclose()
        if not body:
            return f"HTTP {response.status_code}"
        return body if encoding == "utf-8" else body.decode(encoding, "replace")


def http_error(response: httpx.Response, text: str) -> ToolError:
    """The error of a response that is no success, with the beginning of its text."""
    passes = response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error
    kind = TransientError if passes else ToolError
    return kind(f"HTTP {response.status_code}: {text[:_ERROR_CHARACTERS]}".rstrip(": \n"))


class RouteSource(Generic[E]):
    """A table whose tools are all requests to one service: one client, and a tool for each route, for as long as it runs."""

    kind: ClassVar[str]

    def __init__(self, namespace: str, entry: E, secrets: Secrets) -> None:
        self._namespace = namespace
        self._entry = entry
        self._secrets = secrets
        self._where = f"[{self.kind}.{namespace}]"
        self._client: httpx.AsyncClient | None = None
        self._tools: Sequence[Tool] = ()

    async def stop(self) -> None:
        """Close the connections."""
        if self._client:
            await self._client.aclose()

    @property
    def tools(self) -> Sequence[Tool]:
        """One for each route."""
        return self._tools

    def accept(self, name: str) -> None:
        """Nothing to do: these tools change only with the tools file, or with a document that is read only at the start."""

    def _open(self, base: httpx.URL, headers: Mapping[str, str], made: Sequence[tuple[ToolSpec, Route]]) -> None:
        self._entry.check(self._where, self._namespace, [spec for spec, _ in made])
        client = self._client = connect(base, headers)
        self._tools = [HttpTool(spec, route, client, self._secrets) for spec, route in made]


class HttpSource(RouteSource[HttpEntry]):
    """The endpoints of one `[http.NAME]` table."""

    kind = "http"
    entry_class = HttpEntry

    async def start(self) -> None:
        """Make the tools. Raises AutoToolError, naming the entry, where a name, a path or a header is none."""
        headers = filled(self._where, self._entry.headers, self._secrets)
        made = [self._make(endpoint) for endpoint in self._entry.endpoints]
        self._open(base_url(self._where, self._entry.base_url), headers, made)

    def _make(self, endpoint: Endpoint) -> tuple[ToolSpec, Route]:
        policy = self._entry.policy(endpoint.name, read_only=endpoint.method in SAFE, idempotent=endpoint.method in IDEMPOTENT)
        name = tool_name(self._where, self._namespace, endpoint.name)
        route = _route(f"{self._where} endpoint {endpoint.name!r}", endpoint)
        return ToolSpec(name, endpoint.description, endpoint.parameters, policy), route


def filled(where: str, headers: Mapping[str, str], secrets: Secrets) -> dict[str, str]:
    """The headers with their secrets. Raises AutoToolError where one cannot be sent; it never repeats the value."""
    found = {name: secrets.fill(value, f"{where} headers.{name}") for name, value in headers.items()}
    for name, value in found.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not _HEADER_VALUE.fullmatch(value):
            raise AutoToolError(f"{where} headers.{name} must be one line of ASCII with no space at its ends.")
    return found


def base_url(where: str, text: str) -> httpx.URL:
    """The URL that paths are put behind. Raises AutoToolError where it is not one."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise AutoToolError(f"{where} base_url must be http(s)://host[:port][/path], with no user, query or fragment.")
    return url


def connect(base: httpx.URL | str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """A client of the operator's service: no proxy, no .netrc, no cookies, no redirects; the executor keeps the time."""
    return httpx.AsyncClient(
        base_url=base,
        headers={"User-Agent": "autotool-server", "Accept-Encoding": "identity"} | dict(headers),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        verify=certificates(),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 the executor's time-out ends the call
    )


def _route(where: str, endpoint: Endpoint) -> Route:
    in_path, schema = IN_PATH.findall(endpoint.path), endpoint.parameters
    if schema.get("type") != "object":
        raise AutoToolError(f"{where}: parameters must be a JSON schema of type 'object'.")
    for name in in_path:
        if name not in schema.get("properties", {}) or name not in schema.get("required", []):
            raise AutoToolError(f"{where}: {{{name}}} of the path must be a required property of parameters.")
    in_query = endpoint.method in SAFE | {"DELETE"}
    places = {name: Place("path") for name in in_path}
    return Route(endpoint.method, endpoint.path, places, Place("query" if in_query else "body"), needs_body=not in_query)


def _fill(path: str, values: Mapping[str, Any]) -> str:
    """The path with its arguments, none of which can leave its own segment."""
    filled = IN_PATH.sub(lambda found: _segment(found[1], values), path)
    if {".", ".."} & set(filled.split("/")):
        raise ToolError("A part of the path must not be '.' or '..'.")
    return filled


def _segment(name: str, values: Mapping[str, Any]) -> str:
    text = _text(values.get(name))
    # Many servers decode %2F before they choose the route, so that encoding it would not keep it in its place.
    if not text or "/" in text or "\\" in text:
        raise ToolError(f"{name} goes into the path: it must not be empty and must hold no '/' or '\\'.")
    return quote(text, safe="")


def _query(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """A pair for each value, for each item of a list."""
    pairs = ((name, item) for name, value in values.items() for item in (value if isinstance(value, list) else [value]))
    return tuple((name, _text(item)) for name, item in pairs)


def _header(name: str, value: Any) -> str:
    text = _text(value)
    if not _HEADER_VALUE.fullmatch(text):
        raise ToolError(f"{name} goes into a header: it must be one line of ASCII.")
    return text


def _text(value: Any) -> str:
    """A value as it stands in a URL or a header: text as it is, a list with commas, the rest as JSON, null as nothing."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
