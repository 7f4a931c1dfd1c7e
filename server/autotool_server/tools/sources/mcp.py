"""Tools of an MCP server, over stdio or streamable HTTP, by the official SDK.

What an operator reviewed is what a server offered when this one started. A tool that is new since, or whose description or
schema has changed, is disabled until an operator accepts it: a server, or who has taken it over, could otherwise put words
into every prompt. The server's own hints (annotations, instructions) are not believed either: the tools file says what is
read-only. A stdio server gets PATH, HOME and the like and what the tools file gives it, nothing else of the environment.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
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
from autotool_server.tools.entry import Entry, tool_name
from autotool_server.tools.network import certificates
from autotool_server.tools.secrets import Secrets
from autotool_server.tools.sources import mcp_relay
from autotool_server.tools.sources.http import filled
from autotool_server.tools.sources.mcp_connection import START_SECONDS, Connection, first

logger = logging.getLogger(__name__)

CHANGED = "its MCP server has changed its description or schema since this server started; an operator must accept it."
NEW = "its MCP server has added it since this server started; an operator must accept it."
GONE = "its MCP server no longer offers it."
REASON_CHARACTERS = 300
MAX_MESSAGE_BYTES = 4 * 2**20
"""Largest message of a stdio server; a larger one ends it."""


class McpEntry(Entry):
    """A table `[mcp.NAME]` of the tools file: `command` or `url`."""

    command: list[str] = Field(default=[])
    """Program and arguments of a stdio server."""
    env: dict[str, str] = Field(default={})
    """Its environment, beside PATH, HOME and the like; `${NAME}` is read from this server's environment."""
    cwd: Path = Path()
    """Its working folder."""
    url: str | None = None
    """Of a streamable HTTP server."""
    headers: dict[str, str] = Field(default={})
    """Sent with every request to it; `${NAME}` is read from the environment."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("give either command or url")
        if self.headers if self.command else self.env or self.cwd != Path():
            raise ValueError("env and cwd go with command, headers with url")
        return self

    def beside(self, folder: Path) -> Self:
        """The entry with its working folder as it is seen from the folder of the tools file."""
        return self.model_copy(update={"cwd": folder / self.cwd})


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server described it at some time."""

    source: "McpSource"
    remote_name: str
    offered: ToolSpec
    fingerprint: str
    """That of `offered`, as every request asks for it."""

    @property
    def spec(self) -> ToolSpec:
        """What it is, and whether that is what the server offers now and an operator has accepted."""
        return replace(self.offered, disabled=self.source.why_disabled(self))

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Ask the server, once it is there. Raises ToolError where it has no result, or has become another tool meanwhile."""
        await self.source.connection.ready()
        if (why := self.source.why_disabled(self)) is not None:
            raise ToolError(f"The tool is disabled: {why}")
        result = await self.source.connection.call(self.remote_name, arguments)
        text = _text(result)
        if result.is_error:
            raise ToolError(text or "The tool failed and does not say why.")
        if len(text.encode(errors="replace")) > self.offered.policy.max_result_bytes:
            raise OversizeError(self.offered.policy.max_result_bytes)
        return text


class McpSource:
    """One `[mcp.NAME]` table.

    Tools that its server adds after the start are disabled until they are accepted, as nobody has reviewed them.
    """

    entry_class = McpEntry

    def __init__(self, namespace: str, entry: McpEntry, secrets: Secrets) -> None:
        self._namespace = namespace
        self._where = f"[mcp.{namespace}]"
        self._entry = entry
        self._secrets = secrets
        self._env: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        self._last_words = ""
        self._tools: dict[str, McpTool] = {}
        self._accepted: dict[str, str] | None = None
        self.connection = Connection(self._where, self._transport, self._listed)

    @property
    def tools(self) -> Sequence[McpTool]:
        """What the server offers now, disabled tools included."""
        return tuple(self._tools.values())

    async def start(self) -> None:
        """Connect and list. Raises AutoToolError where that does not succeed within START_SECONDS."""
        entry = self._entry
        if entry.command and not entry.cwd.is_dir():
            raise AutoToolError(f"{self._where} cwd: {entry.cwd} is no folder.")
        self._env = {name: self._secrets.fill(text, f"{self._where} env.{name}") for name, text in entry.env.items()}
        self._headers = filled(self._where, entry.headers, self._secrets)
        try:
            await self.connection.start()
        except Exception as error:
            raise self._not_started(first(error)) from None

    async def stop(self) -> None:
        """Disconnect; a stdio server and what it has started are ended."""
        await self.connection.stop()

    def accept(self, name: str) -> None:
        """Let a tool be called as the server describes it now."""
        if self._accepted is not None:
            logger.info("%s: tool %s is accepted as it is now", self._where, name)
            self._accepted[name] = self._tools[name].fingerprint

    def why_disabled(self, tool: McpTool) -> str | None:
        """Why a tool may not be called; None where it may."""
        name, accepted = tool.offered.name, self._accepted or {}
        now = self._tools.get(name)
        if now is None:
            return GONE
        if name not in accepted:
            return NEW
        return None if tool.fingerprint == now.fingerprint == accepted[name] else CHANGED

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        if self._entry.url is not None:
            # No limit for reading: the answer to a call may take as long as the executor lets it.
            limits = httpx2.Timeout(START_SECONDS, read=None)
            async with (
                httpx2.AsyncClient(headers=self._headers, timeout=limits, trust_env=False, verify=certificates()) as client,
                streamable_http_client(self._entry.url, http_client=client) as streams,
            ):
                yield streams
            return
        command = _relayed(self._entry.command, self._entry.cwd)
        server = StdioServerParameters(command=sys.executable, args=command, env=self._env, cwd=self._entry.cwd)
        with tempfile.TemporaryFile("w+") as errors:
            try:
                async with stdio_client(server, errlog=errors) as streams:
                    yield streams
            finally:
                self._last_words = os.pread(errors.fileno(), 2 * mcp_relay.MOST_ERROR_BYTES, 0).decode(errors="replace")

    def _listed(self, offered: Sequence[types.Tool]) -> None:
        starting = self._accepted is None
        made = [tool for one in offered if (tool := self._made(one, strict=starting)) is not None]
        if starting:
            self._entry.check(self._where, self._namespace, [tool.offered for tool in made])
            self._accepted = {tool.offered.name: tool.fingerprint for tool in made}
        before = self._disabled()
        self._tools = {tool.offered.name: tool for tool in made}
        for name, why in self._disabled().items():
            if name not in before:
                logger.warning("%s: tool %s is disabled: %s", self._where, name, why)

    def _disabled(self) -> dict[str, str]:
        return {name: why for name, tool in self._tools.items() if (why := self.why_disabled(tool)) is not None}

    def _made(self, tool: types.Tool, *, strict: bool) -> McpTool | None:
        """The tool; None where it has no name that can be used and came after the start."""
        try:
            name = tool_name(self._where, self._namespace, tool.name)
        except AutoToolError:
            if strict:
                raise
            logger.debug("%s: a tool's name cannot be used", self._where)
            return None
        spec = ToolSpec(name, tool.description or "", tool.input_schema, self._entry.policy(tool.name))
        return McpTool(self, tool.name, spec, spec.fingerprint)

    def _not_started(self, cause: BaseException) -> AutoToolError:
        if isinstance(cause, AutoToolError):
            return cause
        if isinstance(cause, TimeoutError):
            said = f" {self._said()}" if self._entry.command else ""
            return AutoToolError(f"{self._where}: no MCP server has answered within {START_SECONDS:g} seconds.{said}")
        reason = cause.message if isinstance(cause, MCPError) else f"{type(cause).__name__}: {cause}"
        # A server's words may hold what it was given.
        reason = self._secrets.redact(reason)[:REASON_CHARACTERS].rstrip(".")
        mend = self._said() if self._entry.command else "Check its url and headers."
        return AutoToolError(f"{self._where}: its MCP server cannot be used: {reason}. {mend}")

    def _said(self) -> str:
        said = " ".join(self._secrets.redact(self._last_words).split())[-REASON_CHARACTERS:]
        return f"It wrote to stderr: {said}" if said else "It wrote nothing to stderr; run its command by itself to see more."


def _relayed(command: Sequence[str], folder: Path) -> list[str]:
    """Arguments of this Python that run the command behind the relay. Raises FileNotFoundError where there is no program."""
    if shutil.which(command[0]) is None and not (folder / command[0]).is_file():
        raise FileNotFoundError(f"No such file or program: {command[0]}")
    return ["-I", "-S", mcp_relay.__file__, str(MAX_MESSAGE_BYTES), *command]


def _text(result: types.CallToolResult) -> str:
    """A result as text: its texts, and all else by kind and size. Structured content repeats the texts where there are any."""
    parts = [_part(block) for block in result.content]
    texts = any(isinstance(block, types.TextContent) for block in result.content)
    if not texts and result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(parts)


def _part(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return _named(block.mime_type, block.data)
        case types.ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case types.EmbeddedResource(resource=types.TextResourceContents() as inner):
            return inner.text
        case types.EmbeddedResource(resource=types.BlobResourceContents() as inner):
            return _named(inner.mime_type, inner.blob)
        case _:
            return f"[{block.type}]"


def _named(kind: str | None, base64: str) -> str:
    size = len(base64) * 3 // 4 - base64[-2:].count("=")
    return f"[{kind or 'application/octet-stream'}, {size} bytes]"
