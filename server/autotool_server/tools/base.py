"""The contract between the tool executor and what it runs: functions, HTTP endpoints, MCP servers, built-in tools.

A `ToolSource` is one entry of the tools file. It is started with the server and says, at any time, which tools it has; a
tool is a specification and an asynchronous call. Everything that is the same for every tool (validation, time-out, result
limit, retries, parallel and eager execution) is done by the executor and by no source.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from autotool_core.errors import AutoToolError


class ToolError(AutoToolError):
    """A call that failed. The model reads the message, so it holds no secret and nothing of the server's inside."""


class TransientError(ToolError):
    """A call that failed for a reason that may have passed when it is tried again: no connection, a server that is busy."""


class OversizeError(ToolError):
    """A result larger than the tool's limit. Sources that read a stream stop reading there."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The result is larger than {limit} bytes. Ask for less.")
        self.limit = limit

    def __reduce__(self) -> tuple[type["OversizeError"], tuple[int]]:
        """Made again from its limit where it comes from another process: exceptions are remade from their message."""
        return type(self), (self.limit,)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a tool may be run."""

    timeout: float = 30.0
    """Seconds for one call, its retries included."""
    max_result_bytes: int = 16 * 1024
    """Largest result, in bytes of UTF-8."""
    retries: int = 2
    """How often a call that failed is tried again, but for a ToolError that is not transient; only of an idempotent tool."""
    read_only: bool = False
    """Changes nothing: may start while the model still decodes, and may be thrown away."""
    idempotent: bool = False
    """A second call with the same arguments changes nothing more."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a tool is to the model and to the executor."""

    name: str
    """With its namespace: `weather.get`."""
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments, an object."""
    policy: Policy = field(default_factory=Policy)
    disabled: str | None = None
    """Why the tool may not be called until an operator accepts it; None where it may."""

    @property
    def fingerprint(self) -> str:
        """Equal for tools that a model would read alike."""
        return hashlib.sha256(json.dumps([self.description, self.parameters], sort_keys=True).encode()).hexdigest()


class Tool(Protocol):
    """A server tool."""

    @property
    def spec(self) -> ToolSpec: ...

    async def call(self, arguments: Mapping[str, Any]) -> str | bytes:
        """Run with arguments that fit the schema; bytes are read as UTF-8, each broken one replaced.

        Raises ToolError with a message for the model; any other exception is told to the model as "failed" and logged.
        Cancelling the call ends whatever was begun for it.
        """
        ...


class ToolSource(Protocol):
    """Where tools come from: one entry of the tools file."""

    async def start(self) -> None:
        """Make the tools known. Raises AutoToolError, naming the entry, where that cannot be."""
        ...

    async def stop(self) -> None:
        """End everything that was started; calls in flight are over by then."""
        ...

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools as they are now."""
        ...

    def accept(self, name: str) -> None:
        """Let a disabled tool be called again, as it is now. Nothing to do for most sources."""
        ...
