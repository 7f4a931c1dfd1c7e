"""The decision record: what the server says, in `autotool` of every answer, about how its turns went."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from autotool_core.modes import Mode, ResolvedMode


class ToolExecution(BaseModel):
    """One call of a server tool."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    """Of the call, as in the transcript."""
    name: str
    outcome: str
    """`ok`; what went wrong: `error`, `timeout`, `oversize`, `invalid_arguments`, `unknown_tool`, `disabled`; or why it was
    not run to its end: `budget`, `not_run`."""
    seconds: float
    """Wall time, retries included."""
    overlap_seconds: float
    """How much of that the model was still decoding the turn."""
    attempts: int
    result_bytes: int
    """Of the result that the model reads."""


class TurnRecord(BaseModel):
    """One generation. Token counts: `prefix_tokens` are charged to the prompt, the other three are what was decoded."""

    model_config = ConfigDict(frozen=True, extra="allow")

    choice: int
    """Index of the choice that the turn belongs to."""
    resolved: ResolvedMode
    """What the turn did."""
    decided_by: str
    """`model` in `auto`, `request` where the mode was asked for."""
    p_long: float | None
    """The model's unbiased probability of the long decision token against the short one; None where it was not asked."""
    reasoning_bias: float
    """Log-odds that were added to the long decision token."""
    prefix_tokens: int
    """Tokens injected after the generation prompt, and to close the think block."""
    decision_tokens: int
    """1 in `auto`, else 0."""
    reasoning_tokens: int
    """Tokens decoded inside the think block, its closing marker included."""
    content_tokens: int
    """Tokens decoded after it: answer, tool calls and the end of the turn."""
    reasoning_truncated: bool
    """Whether `max_reasoning_tokens` closed the think block."""
    tool_calls: list[str]
    """Names of the tools called, in order."""
    prompt_tokens: int = 0
    """What the turn charges to the prompt, `prefix_tokens` included."""
    cached_tokens: int = 0
    """Those of the prompt that came from the engine's prefix cache."""
    executions: list[ToolExecution] = []
    """Calls of server tools, in the order of the calls."""
    escalated: str | None = None
    """Why the turn was thrown away and decoded again in `long`: `invalid_arguments` or `error`; None where it was not."""


class DecisionRecord(BaseModel):
    """The mode that was asked for, and every turn."""

    model_config = ConfigDict(frozen=True, extra="allow")

    mode: Mode
    turns: list[TurnRecord]
    stop_reason: str | None = None
    """Why a request with server tools ended: `answer`, `client_tools`, `length`, `stop`, or the budget that was used up
    (`max_turns`, `max_calls`, `max_seconds`, `context`); None without server tools."""
    transcript: list[dict[str, Any]] | None = None
    """Messages that a follow-up request appends to its own; None without server tools."""
