"""The contract between the tool executor and what it runs: functions, HTTP endpoints, MCP servers, built-in tools.

A `ToolSource` is one entry of the tools file. It is started with the server and lists its current tools at any time; a
tool is a specification and an asynchronous call. The executor, and no source, does what all tools have in common:
validation, time-outs, result limits, retries, parallel and eager execution.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from autotool_core.errors import AutoToolError
from autotool_server.breaker import MAX_FAILURES


class ToolError(AutoToolError):
    """A call that failed. The model reads the message, so it must contain no secrets and no internals of the server."""


class TransientError(ToolError):
    """A call that failed for a reason that may be temporary, such as a lost connection or a busy server."""


class OversizeError(ToolError):
    """A result larger than the tool's limit. Sources that read a stream stop reading at the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The result is larger than {limit} bytes. Ask for less.")
        self.limit = limit

    def __reduce__(self) -> tuple[type["OversizeError"], tuple[int]]:
        """Pickle the limit: by default an exception is constructed from its message when it arrives from another process."""
        return type(self), (self.limit,)


Approval = Literal["never", "first", "always"]
"""When the user must approve a call: for no call, for the first one of the tool in a conversation, for every call."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of a tool's calls, and what may be assumed about them."""

    timeout: float = 30.0
    """Seconds for one call, retries included."""
    max_result_bytes: int = 16 * 1024
    """The largest result, in bytes of UTF-8."""
    retries: int = 2
    """The number of retries after a failed call of an idempotent tool. A ToolError is retried only if it is transient."""
    read_only: bool = False
    """The tool changes nothing: a call may start while the model still decodes, and its result may be discarded."""
    idempotent: bool = False
    """A second call with the same arguments changes nothing more."""
    repeatable: bool = False
    """A call may be made again in the same request, because the same arguments may give another result. Of any other tool a
    second call with the same arguments is answered from the first one's result."""
    approval: Approval = "never"
    max_concurrent: int | None = None
    """The limit of calls that run at the same time, over all requests; others wait. None for no limit."""
    calls_per_minute: int | None = None
    """The limit of calls that start in any 60 seconds, over all requests; others wait, within `timeout`. None for no limit."""
    max_failures: int = MAX_FAILURES
    """Failures of the tool itself (time-outs and TransientError) in a row after which its calls are refused for a while; 0 for
    no refusals."""

    @property
    def acts(self) -> bool:
        """Whether a call may change something, or needs the user's approval."""
        return not self.read_only or self.approval != "never"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """The description of a tool for the model and the executor."""

    name: str
    """The name with its namespace: `weather.get`."""
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments, of type object."""
    policy: Policy = field(default_factory=Policy)
    disabled: str | None = None
    """The reason why the tool may not be called until an operator accepts it; None for an enabled tool."""
    source: str = ""
    """Where the tool comes from, for the operator: `builtin`, or the table of the tools file, such as `http.weather`."""

    @property
    def fingerprint(self) -> str:
        """A hash of the description and the parameters, which are all that a model reads besides the name."""
        return hashlib.sha256(json.dumps([self.description, self.parameters], sort_keys=True).encode()).hexdigest()


class Tool(Protocol):
    """A server tool."""

    @property
    def spec(self) -> ToolSpec: ...

    async def call(self, arguments: Mapping[str, Any]) -> str | bytes:
        """Run the tool with arguments that match the schema; bytes are decoded as UTF-8, invalid ones replaced.

        Raises ToolError with a message for the model; any other exception is reported to the model as "failed" and logged.
        Cancelling the call ends everything that was started for it.
        """
        ...


class ToolSource(Protocol):
    """A provider of tools: one entry of the tools file."""

    async def start(self) -> None:
        """Load the tools. Raises AutoToolError, which names the entry, if they cannot be loaded."""
        ...

    async def stop(self) -> None:
        """End everything that was started. No call is in flight any more."""
        ...

    @property
    def tools(self) -> Sequence[Tool]:
        """The current tools."""
        ...

    def accept(self, name: str) -> None:
        """Enable a disabled tool as it is now. Most sources never disable a tool and do nothing here."""
        ...
