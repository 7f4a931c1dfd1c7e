"""The operations of an OpenAPI document (3.0, 3.1) as tools, with the host, the headers and the selection of the entry.

A document in a file is the operator's: an operation that cannot be a tool stops the start. One from a URL may change at any
time, so there the operation is listed as disabled, and the others are used.
"""

import asyncio
import json
import logging
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import Field

from autotool_core.errors import AutoToolError
from autotool_server.tools import schema_check
from autotool_server.tools.base import ToolError, ToolSpec
from autotool_server.tools.entry import SelectiveEntry, listed_name, tool_name
from autotool_server.tools.network import charset, read_body
from autotool_server.tools.sources.http import (
    IDEMPOTENT_METHODS,
    SAFE_METHODS,
    Route,
    RouteSource,
    create_client,
    fill_headers,
    parse_base_url,
)
from autotool_server.tools.sources.openapi_operation import Operation, operations
from autotool_server.tools.sources.openapi_schema import Document

logger = logging.getLogger(__name__)

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
DOCUMENT_SECONDS = 30.0


class OpenApiEntry(SelectiveEntry):
    """A table `[openapi.NAME]` of the tools file."""

    document: str
    """The path or the URL of a document in JSON or YAML."""
    base_url: str | None = None
    """The URL of the service. The default is the document's first server, which must be on the host of the document's URL."""
    headers: dict[str, str] = Field(default={})
    """Headers of every call, and of the document's download from the same host; `${NAME}` is read from the environment."""

    def relative_to(self, folder: Path) -> "OpenApiEntry":
        """Return the entry with the document's path resolved against the folder of the tools file."""
        return self if _is_url(self.document) else self.model_copy(update={"document": str(folder / self.document)})


class OpenApiSource(RouteSource[OpenApiEntry]):
    """The source of one `[openapi.NAME]` table."""

    kind = "openapi"
    entry_class = OpenApiEntry

    async def start(self) -> None:
        """Read the document. Raises AutoToolError, which names the entry, if it cannot be used.

        If the document is a file, that includes an operation that cannot be a tool.
        """
        tool_name(self._label, self._namespace, "")  # a namespace that spoils every name is the operator's fault
        headers = fill_headers(self._label, self._entry.headers, self._secrets)
        document = Document(await self._read(headers), self._label)
        base = self._base(document)
        available = list(operations(document))
        if not available:
            raise AutoToolError(f"{self._label}: the document has no operations.")
        self._entry.check_selection(self._label, "operation of the document", [operation.id for operation in available])
        self._open(base, headers, self._make_all([one for one in available if self._entry.selects(one.id)]))

    def _make_all(self, chosen: Sequence[Operation]) -> list[tuple[ToolSpec, Route]]:
        """Return the tools of operations, disabled ones last. Raises AutoToolError for a file with unusable operations."""
        made: dict[str, tuple[ToolSpec, Route]] = {}
        faults: list[tuple[Operation, str]] = []
        for operation in chosen:
            try:
                spec, route = self._make(operation, made)
                made[spec.name] = spec, route
            except AutoToolError as error:
                faults.append((operation, str(error)))
        if faults and not _is_url(self._entry.document):
            raise _file_error(faults)
        for operation, fault in faults:
            logger.warning("%s Its tool is disabled.", fault)
            name = listed_name(self._namespace, operation.tool, made)
            schema = {"type": "object", "properties": {}}
            spec = ToolSpec(name, operation.description, schema, disabled=fault, source=self._source)
            made[name] = spec, Route(operation.method, operation.path, {})
        return list(made.values())

    def _make(self, operation: Operation, taken: Container[str]) -> tuple[ToolSpec, Route]:
        """Return the tool of an operation. Raises AutoToolError if it cannot be one, or if its name is taken."""
        if operation.has_servers and self._entry.base_url is None:
            raise AutoToolError(f"{operation.label} names another server. Set base_url, or leave it out with exclude.")
        parameters, route = operation.build({name.lower() for name in self._entry.headers})
        try:
            path = schema_check.error_path(parameters)
        except RecursionError:
            path = "a schema that is nested too deeply"
        if path is not None:
            raise AutoToolError(f"{operation.label} has no valid JSON schema (at {path}).")
        method = operation.method
        # Names are cut to fit: FastAPI composes them of the function, the path and the method.
        short = operation.tool[: max(1, 63 - len(self._namespace))]
        policy = self._entry.policy(short, read_only=method in SAFE_METHODS, idempotent=method in IDEMPOTENT_METHODS)
        name = tool_name(operation.label, self._namespace, short)
        if name in taken:
            raise AutoToolError(
                f"{operation.label} and another one would be two tools named {name}. Leave one out with exclude."
            )
        return ToolSpec(name, operation.description, parameters, policy, source=self._source), route

    def _base(self, document: Document) -> httpx.URL:
        """Return the operator's base URL, else the document's first server, which must be on the document's host."""
        if self._entry.base_url is not None:
            return parse_base_url(self._label, self._entry.base_url)
        server = _first_server(document)
        if not _is_url(self._entry.document):
            return parse_base_url(f"{self._label} without a base_url, servers[0] of the document as", server)
        source = httpx.URL(self._entry.document)
        base = source.join(server)
        if _origin(base) != _origin(source):
            raise AutoToolError(f"{self._label}: the document's server is on another host than the document. Set base_url.")
        return parse_base_url(self._label, str(base))

    async def _read(self, headers: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            text = await self._text(headers)
            content = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _JsonLoader)  # noqa: S506 a safe loader
        except (OSError, ValueError, RecursionError, httpx.HTTPError, httpx.InvalidURL, ToolError, yaml.YAMLError) as error:
            raise AutoToolError(f"{self._label}: the document cannot be read: {_reason(error)}.") from error
        version = str(content.get("openapi", "")) if isinstance(content, dict) else ""
        if not re.match(r"3\.[01]\b", version) or not isinstance(content.get("paths", {}), dict):
            raise AutoToolError(f"{self._label}: the document is not of OpenAPI 3.0 or 3.1.")
        return content

    async def _text(self, headers: Mapping[str, str]) -> str:
        """Return the text of the document. Headers, which may hold secrets, are sent to the host of the operations only."""
        if not _is_url(self._entry.document):
            return await asyncio.to_thread(_read_file, self._entry.document)
        url = httpx.URL(self._entry.document)
        same_origin = self._entry.base_url is None or _origin(httpx.URL(self._entry.base_url)) == _origin(url)
        async with create_client(url, headers if same_origin else {}) as client:
            async with client.stream("GET", url, timeout=DOCUMENT_SECONDS) as response:
                body = await read_body(response.raise_for_status(), MAX_DOCUMENT_BYTES)
            return body.decode(charset(response))


class _JsonLoader(yaml.SafeLoader):
    """Loads YAML with the types of JSON: no dates, and no booleans but true and false (so that `no` is Norway)."""


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_JsonLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _file_error(faults: Sequence[tuple[Operation, str]]) -> AutoToolError:
    """Return the error of a file with operations that cannot be tools: the first one's, with the names of the others."""
    (_, first), *others = faults
    names = ", ".join(operation.id for operation, _ in others)
    return AutoToolError(f"{first} Neither can these be tools: {names}." if others else first)


def _first_server(document: Document) -> str:
    servers = document.content.get("servers") or [{"url": "/"}]
    first: dict[str, Any] = servers[0]
    variables = first.get("variables", {})
    return re.sub(r"\{([^{}]+)\}", lambda match: str(variables.get(match[1], {}).get("default", "")), first["url"])


def _read_file(name: str) -> str:
    return Path(name).read_text(encoding="utf-8")


def _is_url(document: str) -> bool:
    return document.lower().startswith(("http://", "https://"))


def _origin(url: httpx.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80)


def _reason(error: Exception) -> str:
    """Return a short reason: the HTTP status, the operating system's reason or the type of the error."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is neither JSON nor YAML" if isinstance(error, ValueError | yaml.YAMLError) else type(error).__name__
