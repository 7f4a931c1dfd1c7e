"""The decision record: what the server says, in `autotool` of every answer, about how its turns went."""

from pydantic import BaseModel, ConfigDict

from autotool_core.modes import Mode, ResolvedMode


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


class DecisionRecord(BaseModel):
    """The mode that was asked for, and every turn."""

    model_config = ConfigDict(frozen=True, extra="allow")

    mode: Mode
    turns: list[TurnRecord]
