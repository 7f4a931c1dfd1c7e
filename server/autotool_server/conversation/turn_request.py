"""The request of one turn: `turn_requests` makes it, `turn` runs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotool_core.modes import Mode
from autotool_server.conversation.plan import TurnLimits
from autotool_server.engines.base import Sampling
from autotool_server.targets.controller import Controller


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What one turn of a choice needs from the engine."""

    id: str
    choice: int
    """Index of the choice that the turn belongs to."""
    prompt_ids: Sequence[int]
    """Conversation and response prefix of `mode`."""
    mode: Mode
    reasoning_bias: float
    """Log-odds of the request or its effort that are added to the long decision token."""
    limits: TurnLimits
    sampling: Sampling
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    """Whether the tokens that end a turn are text like any other."""
    skip_special_tokens: bool = True
    logprobs: int | None = None
    priority: int = 0
    tools: Sequence[Mapping[str, Any]] = ()
    """OpenAI function tools that may be called."""
    parallel_tool_calls: bool = True
    target: Controller | None = None
    """What adds to the reasoning bias so that a target is held; None without one."""
