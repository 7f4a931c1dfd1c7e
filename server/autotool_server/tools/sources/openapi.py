"""The operations of an OpenAPI document (3.0, 3.1) as tools. The entry is what counts: its host, its headers, its choice."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import Field

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import ToolError, ToolSpec
from autotool_server.tools.entry import Entry, tool_name
from autotool_server.tools.network import charset, read
from autotool_server.tools.sources.http import IDEMPOTENT, SAFE, Route, RouteSource, base_url, connect, filled
from autotool_server.tools.sources.openapi_operation import Operation, operations
from autotool_server.tools.sources.openapi_schema import Document

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
DOCUMENT_SECONDS = 30.0


class OpenApiEntry(Entry):
    """A table `[openapi.NAME]` of the tools file."""

    document: str
    """File or URL, JSON or YAML."""
    base_url: str | None = None
    """Where the operations are; without it the document's first server, on the document's own host if that is a URL."""
    headers: dict[str, str] = Field(default={})
    """Sent with every call, and for the document where that is on the same host; `${NAME}` is read from the environment."""
    include: list[str] = Field(default=["*"], min_length=1)
    """The operations that become tools, by operationId or by pattern."""

    def beside(self, folder: Path) -> "OpenApiEntry":
        """The entry with the path of its document as it is seen from the folder of the tools file."""
        return self if _is_url(self.document) else self.model_copy(update={"document": str(folder / self.document)})


class OpenApiSource(RouteSource[OpenApiEntry]):
    """The operations of one `[openapi.NAME]` table."""

    kind = "openapi"
    entry_class = OpenApiEntry

    async def start(self) -> None:
        """Read the document. Raises AutoToolError, naming the entry and the operation, where one cannot be a tool."""
        headers = filled(self._where, self._entry.headers, self._secrets)
        document = Document(await self._read(headers), self._where)
        base = self._base(document)
        chosen = [one for one in operations(document) if any(fnmatchcase(one.id, name) for name in self._entry.include)]
        self._check_include([one.id for one in operations(document)])
        self._open(base, headers, [self._make(one) for one in chosen])

    def _make(self, operation: Operation) -> tuple[ToolSpec, Route]:
        if operation.has_servers and self._entry.base_url is None:
            raise AutoToolError(f"{operation.where} has a server of its own. Set base_url, or choose others with include.")
        parameters, route = operation.build({name.lower() for name in self._entry.headers})
        method = operation.method
        # A name may be cut to fit: FastAPI's are made of the function, the path and the method.
        short = operation.tool[: max(1, 63 - len(self._namespace))]
        policy = self._entry.policy(short, read_only=method in SAFE, idempotent=method in IDEMPOTENT)
        return ToolSpec(tool_name(operation.where, self._namespace, short), operation.description, parameters, policy), route

    def _check_include(self, ids: Sequence[str]) -> None:
        for name in self._entry.include:
            if not any(fnmatchcase(one, name) for one in ids):
                raise AutoToolError(f"{self._where} include: no operation of the document is named {name!r}.")

    def _base(self, document: Document) -> httpx.URL:
        """The operator's base URL; else the document's first server, which may not lead to another host than its own."""
        if self._entry.base_url is not None:
            return base_url(self._where, self._entry.base_url)
        server = _first_server(document)
        if not _is_url(self._entry.document):
            return base_url(f"{self._where} without a base_url, servers[0] of the document as", server)
        source = httpx.URL(self._entry.document)
        base = source.join(server)
        if _origin(base) != _origin(source):
            raise AutoToolError(f"{self._where}: the document's server is another host than its own. Set base_url.")
        return base_url(self._where, str(base))

    async def _read(self, headers: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            text = await self._text(headers)
            content = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Yaml)  # noqa: S506 a safe loader
        except (OSError, ValueError, RecursionError, httpx.HTTPError, httpx.InvalidURL, ToolError, yaml.YAMLError) as error:
            raise AutoToolError(f"{self._where}: the document cannot be read: {_reason(error)}.") from error
        version = str(content.get("openapi", "")) if isinstance(content, dict) else ""
        if not re.match(r"3\.[01]\b", version) or not isinstance(content.get("paths", {}), dict):
            raise AutoToolError(f"{self._where}: the document is not of OpenAPI 3.0 or 3.1.")
        return content

    async def _text(self, headers: Mapping[str, str]) -> str:
        """The document. Headers, which may hold secrets, go to the host of the operations only."""
        if not _is_url(self._entry.document):
            return await asyncio.to_thread(_read_file, self._entry.document)
        url = httpx.URL(self._entry.document)
        own = self._entry.base_url is None or _origin(httpx.URL(self._entry.base_url)) == _origin(url)
        async with connect(url, headers if own else {}) as client:
            async with client.stream("GET", url, timeout=DOCUMENT_SECONDS) as response:
                body = await read(response.raise_for_status(), MAX_DOCUMENT_BYTES)
            return body.decode(charset(response))


class _Yaml(yaml.SafeLoader):
    """YAML as JSON has it: no dates, and of words only true, false and null are no text (so that `no` is Norway)."""


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":bool"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _first_server(document: Document) -> str:
    servers = document.content.get("servers") or [{"url": "/"}]
    first: dict[str, Any] = servers[0]
    variables = first.get("variables", {})
    return re.sub(r"\{([^{}]+)\}", lambda found: str(variables.get(found[1], {}).get("default", "")), first["url"])


def _read_file(name: str) -> str:
    return Path(name).read_text(encoding="utf-8")


def _is_url(document: str) -> bool:
    return document.lower().startswith(("http://", "https://"))


def _origin(url: httpx.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80)


def _reason(error: Exception) -> str:
    """What can be said of an error at the start: a status, an operating system's reason, or its kind."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is neither JSON nor YAML" if isinstance(error, ValueError | yaml.YAMLError) else type(error).__name__
