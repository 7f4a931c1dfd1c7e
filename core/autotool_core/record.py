"""The decision record, which is `autotool` in every answer of the server: the modes, tokens and tool calls of its turns."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from autotool_core.modes import Mode, ResolvedMode


class ToolExecution(BaseModel):
    """One call of a server tool."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    """The call's id, as in the transcript."""
    name: str
    outcome: str
    """`ok`; a failure: `error`, `timeout`, `oversize`, `invalid_arguments`, `unknown_tool`, `disabled`; or the reason why
    the tool was not run to its end: `budget`, `not_run`, `repeated` (answered from the same call before it), `refused` (by
    the user), `approval_required`, `rate_limited`, `unavailable`, `not_logged` (the audit log cannot be written)."""
    seconds: float
    """Wall time, retries included."""
    overlap_seconds: float
    """The part of `seconds` in which the model was still decoding the turn."""
    attempts: int
    result_bytes: int
    """The size in bytes of the result that the model reads."""


class TurnRecord(BaseModel):
    """One generation. Of the token counts, `prefix_tokens` are charged to the prompt; the other three were decoded."""

    model_config = ConfigDict(frozen=True, extra="allow")

    choice: int
    """The index of the choice that the turn belongs to."""
    resolved: ResolvedMode | None
    """The mode that the turn had; None for plain text, which has none."""
    decided_by: str
    """`model` in `auto`, `request` if the request set the mode."""
    p_long: float | None
    """The unbiased probability of long: of its decision token against the short one, or of the profile's decision head; None if
    the model did not decide."""
    reasoning_bias: float
    """Log-odds that were added to the long decision token."""
    load_bias: float = Field(default=0.0, exclude_if=lambda bias: not bias)
    """The part of `reasoning_bias` that the server added because requests waited, below 0; left out where it added none."""
    load_share: float = Field(default=1.0, exclude_if=lambda share: share == 1)
    """The part of the usual longest thought that was left to the think block because requests waited; left out where it had
    its whole budget. `max_reasoning_tokens` is the budget that it had then."""
    target: str | None = None
    """The target for which the server found the bias, such as `thinking-rate=0.3`; None where there was none."""
    prefix_tokens: int
    """Tokens injected after the generation prompt, and to close the think block."""
    decision_tokens: int
    """1 in `auto`, else 0."""
    reasoning_tokens: int
    """Tokens decoded inside the think block, its closing marker included."""
    content_tokens: int
    """Tokens decoded after the think block: answer, tool calls and the end of the turn."""
    reasoning_truncated: bool
    """Whether the think block was closed for the model because it had reached its limit of tokens."""
    max_reasoning_tokens: int | None = None
    """The limit of tokens in the think block that applied: the request's, its effort's or the server's."""
    tool_calls: list[str]
    """Names of the tools called, in order."""
    prompt_tokens: int = 0
    """Tokens that the turn charges to the prompt, `prefix_tokens` included."""
    cached_tokens: int = 0
    """Tokens of the prompt that came from the engine's prefix cache."""
    executions: list[ToolExecution] = []
    """Calls of server tools, in the order of the calls; in the first turn after those that the request has decided about."""
    escalated: str | None = None
    """The reason why the turn was discarded and decoded again in `long`, `invalid_arguments` or `error`; None otherwise."""


class PendingCall(BaseModel):
    """A call of a server tool that waits for the user's approval."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    """The call's id, as in the transcript, by which the next request decides about it."""
    name: str
    arguments: str
    """A JSON object as text."""


class Timings(BaseModel):
    """Where the time of a request went, in seconds. What did not happen is left out.

    With several choices, or turns, it is that of the choice that took longest, and of all its turns together.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    queue: float | None = None
    """Waiting in the queue, once the request had been read and prepared, and the limits of its key had let it in."""
    decide: float | None = None
    """Decoding the decision tokens."""
    first_token: float | None = None
    """The time from the arrival of the request to the first decoded token, which may be a decision."""
    reasoning: float | None = None
    """Decoding think blocks: from a turn's first token to the end of its block."""
    total: float | None = None
    """The time from the arrival of the request until this record was made."""


class DecisionRecord(BaseModel):
    """The mode of the request, and every turn."""

    model_config = ConfigDict(frozen=True, extra="allow")

    mode: Mode | None
    """None for plain text."""
    turns: list[TurnRecord]
    stop_reason: str | None = None
    """The reason why a request with server tools ended: `answer`, `client_tools`, `length`, `stop`, `approval_required`,
    `repeated_call` (the model made one call again and again), or the budget that was used up (`max_turns`, `max_calls`,
    `max_seconds`, `context`, `key_budget`); None without server tools."""
    transcript: list[dict[str, Any]] | None = None
    """The messages that a follow-up request appends to its own; None without server tools."""
    effort: str | None = None
    """The reasoning effort that the request named; the turns show the bias and the limit that it stands for."""
    pending_calls: list[PendingCall] = []
    """The calls that wait for the user's approval where `stop_reason` is `approval_required`."""
    ignored: list[str] = []
    """Paths of the request's fields that the server does not have and left out."""
    timings: Timings | None = None
    """Where the time went."""
