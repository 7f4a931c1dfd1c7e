"""The tools of an MCP server, over stdio or streamable HTTP, through the official SDK.

The tools that a server offers at the start count as reviewed by the operator. A tool that is added later, or whose
description or schema changes, is disabled until an operator accepts it: otherwise a server, or whoever has taken it over,
could write into every prompt. The server's hints (annotations, instructions) are not trusted either: the tools file lists
what is read-only. The environment of a stdio server has PATH, HOME and the like, and the variables of the tools file.

A tool that cannot be used (`mcp_listing`, an invalid name, one of two with one name) is listed as disabled with the reason,
at the start and later: what a server offers is not the operator's doing, and its other tools are sound.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import httpx2
from mcp import MCPError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import Field, model_validator

from autotool_core.errors import AutoToolError
from autotool_server.tools.base import OversizeError, ToolError, ToolSpec
from autotool_server.tools.entry import MAX_NAME_CHARACTERS, NAME, SelectiveEntry, listed_name, tool_name
from autotool_server.tools.network import tls_context
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources import mcp_relay
from autotool_server.tools.sources.http import fill_headers
from autotool_server.tools.sources.mcp_connection import START_SECONDS, Connection, root_cause
from autotool_server.tools.sources.mcp_listing import fault_of

logger = logging.getLogger(__name__)

CHANGED = "its MCP server has changed its description or schema since this server started; an operator must accept it."
NEW = "its MCP server has added it since this server started; an operator must accept it."
GONE = "its MCP server no longer offers it."
TWICE = "its MCP server lists several tools of this name, which differ."
BAD_NAME = (
    "the name that its MCP server gives it is none for a tool: letters, digits, '_', '.' and '-' are allowed, and with the "
    f"namespace at most {MAX_NAME_CHARACTERS} characters."
)
MAX_REASON_CHARACTERS = 300
MAX_MESSAGE_BYTES = 4 * 2**20
"""The largest message of a stdio server. A larger one ends the server."""


class McpEntry(SelectiveEntry):
    """A table `[mcp.NAME]` of the tools file, with either `command` or `url`."""

    command: list[str] = Field(default=[])
    """The program and the arguments of a stdio server."""
    env: dict[str, str] = Field(default={})
    """Environment variables of the stdio server besides PATH, HOME and the like; `${NAME}` is read from the environment."""
    cwd: Path = Path()
    """The working folder of the stdio server."""
    url: str | None = None
    """The URL of a streamable HTTP server."""
    headers: dict[str, str] = Field(default={})
    """Headers of every request to the HTTP server; `${NAME}` is read from the environment."""

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("give either command or url")
        if self.headers if self.command else self.env or self.cwd != Path():
            raise ValueError("env and cwd go with command, headers with url")
        return self

    def relative_to(self, folder: Path) -> Self:
        """Return the entry with `cwd` resolved against the folder of the tools file."""
        return self.model_copy(update={"cwd": folder / self.cwd})


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server has described it in one listing."""

    source: "McpSource"
    remote_name: str
    offered: ToolSpec
    fingerprint: str
    """The fingerprint of `offered`, computed once because every request needs it."""
    fault: str | None = None
    """The reason why the tool cannot be used as its server describes it, whoever accepts it."""

    @property
    def spec(self) -> ToolSpec:
        """The specification; disabled unless the server still offers it and an operator has accepted it."""
        return replace(self.offered, disabled=self.source.disabled_reason(self))

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Call the tool once the server is connected. Raises ToolError if there is no result, or if the tool is disabled."""
        await self.source.connection.ready()
        if (reason := self.source.disabled_reason(self)) is not None:
            raise ToolError(f"The tool is disabled: {reason}")
        result = await self.source.connection.call(self.remote_name, arguments)
        text = _result_text(result)
        if result.is_error:
            raise ToolError(text or "The tool failed and does not say why.")
        if len(text.encode(errors="replace")) > self.offered.policy.max_result_bytes:
            raise OversizeError(self.offered.policy.max_result_bytes)
        return text


class McpSource:
    """The source of one `[mcp.NAME]` table.

    Tools that its server adds after the start are disabled until an operator accepts them.
    """

    entry_class = McpEntry

    def __init__(self, namespace: str, entry: McpEntry, secrets: Secrets) -> None:
        self._namespace = namespace
        self._source = f"mcp.{namespace}"
        self._label = f"[{self._source}]"
        self._entry = entry
        self._secrets = secrets
        self._env: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        self._stderr = ""
        self._tools: dict[str, McpTool] = {}
        self._accepted: dict[str, str] | None = None
        self.connection = Connection(self._label, self._transport, self._update_tools)

    @property
    def tools(self) -> Sequence[McpTool]:
        """The tools that the server offers now, disabled ones included."""
        return tuple(self._tools.values())

    async def start(self) -> None:
        """Connect and list the tools. Raises AutoToolError if that does not succeed within START_SECONDS."""
        entry = self._entry
        tool_name(self._label, self._namespace, "")  # a namespace that spoils every name is the operator's fault
        if entry.command and not entry.cwd.is_dir():
            raise AutoToolError(f"{self._label} cwd: {entry.cwd} is no folder.")
        self._env = {name: self._secrets.fill(text, f"{self._label} env.{name}") for name, text in entry.env.items()}
        self._headers = fill_headers(self._label, entry.headers, self._secrets)
        try:
            await self.connection.start()
        except Exception as error:
            raise self._start_error(root_cause(error)) from None

    async def stop(self) -> None:
        """Disconnect. A stdio server is ended with the processes that it has started."""
        await self.connection.stop()

    def accept(self, name: str) -> None:
        """Enable a tool as the server describes it now. One with a fault stays disabled."""
        if self._accepted is not None and self._tools[name].fault is None:
            logger.info("%s: tool %s is accepted as it is now", self._label, name)
            self._accepted[name] = self._tools[name].fingerprint

    def disabled_reason(self, tool: McpTool) -> str | None:
        """Return the reason why a tool may not be called; None for an enabled tool."""
        name, accepted = tool.offered.name, self._accepted or {}
        now = self._tools.get(name)
        if now is None:
            return GONE
        if now.fault is not None:
            return now.fault
        if name not in accepted:
            return NEW
        return None if tool.fingerprint == now.fingerprint == accepted[name] else CHANGED

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        if self._entry.url is not None:
            # No read time-out: the executor limits the time of a call.
            timeout = httpx2.Timeout(START_SECONDS, read=None)
            async with (
                httpx2.AsyncClient(
                    headers=self._headers,
                    timeout=timeout,
                    trust_env=False,
                    verify=tls_context(),
                    event_hooks={"request": [_trace_header]},
                ) as client,
                streamable_http_client(self._entry.url, http_client=client) as streams,
            ):
                yield streams
            return
        command = _relay_command(self._entry.command, self._entry.cwd)
        server = StdioServerParameters(command=sys.executable, args=command, env=self._env, cwd=self._entry.cwd)
        with tempfile.TemporaryFile("w+") as errors:
            try:
                async with stdio_client(server, errlog=errors) as streams:
                    yield streams
            finally:
                self._stderr = os.pread(errors.fileno(), 2 * mcp_relay.MAX_STDERR_BYTES, 0).decode(errors="replace")

    def _update_tools(self, offered: Sequence[types.Tool]) -> None:
        """Take a list of tools as the current one. Raises AutoToolError if a pattern of the entry fits nothing in the first."""
        chosen = [tool for tool in offered if self._entry.selects(tool.name)]
        tools = self._make_all(chosen)
        if self._accepted is None:
            self._entry.check_selection(self._label, "tool of its MCP server", [tool.name for tool in offered])
            self._entry.check_patterns(self._label, [tool.name for tool in chosen])
            # Once mended, a tool with a fault is one that the operator has not seen.
            self._accepted = {name: tool.fingerprint if tool.fault is None else "" for name, tool in tools.items()}
        before = self._disabled()
        self._tools = tools
        for name, reason in self._disabled().items():
            if before.get(name) != reason:
                logger.warning("%s: tool %s is disabled: %s", self._label, name, reason)

    def _disabled(self) -> dict[str, str]:
        return {name: reason for name, tool in self._tools.items() if (reason := self.disabled_reason(tool)) is not None}

    def _make_all(self, offered: Sequence[types.Tool]) -> dict[str, McpTool]:
        """Return the tools by the name under which they are listed. Those with a name of their own come first."""
        same_name: dict[str, list[types.Tool]] = {}
        for item in offered:
            same_name.setdefault(item.name, []).append(item)
        tools: dict[str, McpTool] = {}
        for items in sorted(same_name.values(), key=lambda items: not self._is_name(items[0].name)):
            tool = self._make(items, tools)
            tools[tool.offered.name] = tool
        return tools

    def _make(self, items: Sequence[types.Tool], taken: Container[str]) -> McpTool:
        """Return the tool that the server describes by one or several items of one name."""
        first = items[0]
        is_name = self._is_name(first.name)
        fault = fault_of(first) or (None if is_name else BAD_NAME) or (TWICE if any(item != first for item in items) else None)
        name = f"{self._namespace}.{first.name}" if is_name else listed_name(self._namespace, first.name, taken)
        policy = self._entry.policy(first.name)
        spec = ToolSpec(name, first.description or "", first.input_schema, policy, source=self._source)
        return McpTool(self, first.name, spec, spec.fingerprint, fault and self._secrets.redact(fault))

    def _is_name(self, name: str) -> bool:
        return name != "" and NAME.fullmatch(f"{self._namespace}.{name}") is not None

    def _start_error(self, cause: BaseException) -> AutoToolError:
        if isinstance(cause, AutoToolError):
            return AutoToolError(self._secrets.redact(str(cause)))
        if isinstance(cause, TimeoutError):
            stderr = f" {self._stderr_report()}" if self._entry.command else ""
            return AutoToolError(f"{self._label}: no MCP server has answered within {START_SECONDS:g} seconds.{stderr}")
        reason = cause.message if isinstance(cause, MCPError) else f"{type(cause).__name__}: {cause}"
        # A server's message may contain the secrets that it got.
        reason = self._secrets.redact(reason)[:MAX_REASON_CHARACTERS].rstrip(".")
        hint = self._stderr_report() if self._entry.command else "Check its url and headers."
        return AutoToolError(f"{self._label}: its MCP server cannot be used: {reason}. {hint}")

    def _stderr_report(self) -> str:
        text = " ".join(self._secrets.redact(self._stderr).split())[-MAX_REASON_CHARACTERS:]
        return f"It wrote to stderr: {text}" if text else "It wrote nothing to stderr; run its command by itself to see more."


async def _trace_header(request: httpx2.Request) -> None:
    """Repeat the trace that the SDK writes into a message in a header, for what only reads these, such as a proxy.

    The SDK sends all messages in one task, which is in nobody's trace.
    """
    content = request.content if request.method == "POST" else b""
    if b'"traceparent"' not in content:
        return
    meta = (json.loads(content).get("params") or {}).get("_meta") or {}
    request.headers.update({name: meta[name] for name in ("traceparent", "tracestate") if isinstance(meta.get(name), str)})


def _relay_command(command: Sequence[str], folder: Path) -> list[str]:
    """Return the arguments of Python that run the command behind the relay. Raises FileNotFoundError without a program."""
    if shutil.which(command[0]) is None and not (folder / command[0]).is_file():
        raise FileNotFoundError(f"No such file or program: {command[0]}")
    return ["-I", "-S", mcp_relay.__file__, str(MAX_MESSAGE_BYTES), *command]


def _result_text(result: types.CallToolResult) -> str:
    """Return a result as text. Content that is no text is named by type and size.

    Structured content is used only if no text says anything, since servers repeat it as text.
    """
    if result.structured_content is None or any(map(_has_text, result.content)):
        return "\n".join(map(_block_text, result.content))
    others = [_block_text(block) for block in result.content if not isinstance(block, types.TextContent)]
    return "\n".join([*others, json.dumps(result.structured_content, ensure_ascii=False)])


def _has_text(block: types.ContentBlock) -> bool:
    return isinstance(block, types.TextContent) and bool(block.text.strip())


def _block_text(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return _binary_summary(block.mime_type, block.data)
        case types.ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case types.EmbeddedResource(resource=types.TextResourceContents() as inner):
            return inner.text
        case types.EmbeddedResource(resource=types.BlobResourceContents() as inner):
            return _binary_summary(inner.mime_type, inner.blob)
        case _:
            return f"[{block.type}]"


def _binary_summary(kind: str | None, base64: str) -> str:
    size = len(base64) * 3 // 4 - base64[-2:].count("=")
    return f"[{kind or 'application/octet-stream'}, {size} bytes]"
