"""What the tool loop is given, and what it asks for: its tools under their budget, and the inputs of its next turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_server.conversation.approvals import PastCalls
from autotool_server.tools.audit import Audit
from autotool_server.tools.base import Tool
from autotool_server.tools.limits import CallLimits
from autotool_server.tools.made import ApprovedCalls
from autotool_server.tools.secrets import Secrets


class NoRoomError(AutoToolError):
    """The conversation has outgrown the model's context (`context`) or the request's limit of tokens (`length`)."""

    def __init__(self, stop_reason: str) -> None:
        super().__init__(stop_reason)
        self.stop_reason = stop_reason


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of server tools in one request."""

    max_turns: int
    """Turns that may call tools."""
    max_calls: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class ServerTools:
    """The tools that a request names, and how the loop may use them."""

    tools: Mapping[str, Tool]
    client_names: frozenset[str]
    """Functions that the client executes."""
    budget: Budget
    secrets: Secrets
    escalate: bool
    """Whether a short turn whose call fails is decoded again in `long`."""
    past: PastCalls
    """The calls before the request, and what it decides about those that wait for approval."""
    approved: ApprovedCalls
    limits: CallLimits
    audit: Audit


@dataclass(frozen=True, slots=True)
class NextTurn:
    """The inputs of a turn after the first, in addition to the request."""

    number: int
    messages: Sequence[Mapping[str, Any]]
    """The transcript since the request."""
    spent: int
    """Tokens that earlier turns charged to the request's limit."""
    mode: Mode | None
    """None for the request's mode."""
    may_call: bool
