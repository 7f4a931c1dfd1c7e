"""The plan of a turn: which engine steps it takes, and what is injected between them. No engine, no text: pure decisions.

A turn is one to three engine steps, each a plain generation from token ids. Steps are split only where something differs
between them: a reasoning budget, or a grammar that must not constrain the think block. (The decision of `auto` is a step of
its own that comes before: `conversation.turn`.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autotool_core.profile import ThinkFormat
from autotool_server.engines.base import FinishReason


@dataclass(frozen=True, slots=True)
class Step:
    """A plain generation within a turn."""

    max_tokens: int
    stop_token_ids: tuple[int, ...]
    structural_tag: str | None = None
    reasoning_only: bool = False
    """Whether the step ends with the think block."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What happens before the next step of a turn."""

    step: Step | None
    """None where no tokens are left for it: the turn ends with finish reason `length`."""
    injected: str = ""
    """Text whose tokens are appended to the prompt for the model."""
    closes_reasoning: bool = False
    """Whether `injected` closes the think block, which the parser has to read too."""
    reasoning_truncated: bool = False
    """Whether the reasoning budget was used up."""


@dataclass(frozen=True, slots=True)
class TurnState:
    """How far a turn has come at the end of a step."""

    in_reasoning: bool
    charged_tokens: int
    """Decoded tokens that count towards `TurnLimits.max_tokens`."""
    finish_reason: FinishReason = "stop"
    """The engine's, of the last step."""
    ended: bool = False
    """Whether a stop string or a tool call has ended the answer."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What bounds and constrains the steps of a turn."""

    max_tokens: int
    max_reasoning_tokens: int | None
    structural_tag: str | None
    """Grammar of the answer; the think block stands before it."""
    counts_reasoning: bool = False
    """Whether `max_tokens` counts the reasoning too where this has a limit of its own."""


class TurnPlan:
    """Plans the steps of a turn.

    `think` is the profile's think block, None for a model that cannot think; `close_ids` the token of its close marker, or ()
    where the marker has several tokens and only the parser can find it.
    """

    def __init__(
        self, limits: TurnLimits, think: ThinkFormat | None, eos_token_ids: Sequence[int], close_ids: tuple[int, ...] = ()
    ) -> None:
        self._limits = limits
        self._think = think
        self._eos = tuple(eos_token_ids)
        self._close_ids = close_ids

    def first(self, state: TurnState) -> Transition:
        """Return the step that the turn begins with."""
        limits = self._limits
        if not state.in_reasoning:
            return self._answer(state)
        if limits.max_reasoning_tokens == 0:
            return self._close(state, truncated=True)
        if limits.max_reasoning_tokens is None and limits.structural_tag is None:
            return Transition(self._step(state, None))
        budget = self._tokens_left(state) if limits.max_reasoning_tokens is None else limits.max_reasoning_tokens
        if limits.counts_reasoning:
            budget = min(budget, self._tokens_left(state))
        step = Step(budget, (*self._eos, *self._close_ids), reasoning_only=True)
        return Transition(step if budget > 0 else None)

    def following(self, step: Step, state: TurnState) -> Transition | None:
        """Return what follows after a step; None when the turn is over."""
        if state.ended:
            return None
        if step.reasoning_only and not state.in_reasoning:
            return self._answer(state, injected=self._think.answer_separator if self._think is not None else "")
        if not state.in_reasoning:
            return None
        has_budget = self._limits.max_reasoning_tokens is not None
        if state.finish_reason == "length" and not has_budget:
            return None
        # The model ran out of its reasoning budget, or ended its turn inside the think block: an answer follows.
        return self._close(state, truncated=state.finish_reason == "length")

    def _close(self, state: TurnState, *, truncated: bool) -> Transition:
        think = self._think or ThinkFormat()
        closing = f"\n{think.close}{think.answer_separator}"
        step = self._step(state, self._limits.structural_tag)
        return Transition(step, closing, closes_reasoning=True, reasoning_truncated=truncated)

    def _answer(self, state: TurnState, injected: str = "") -> Transition:
        return Transition(self._step(state, self._limits.structural_tag), injected)

    def _step(self, state: TurnState, structural_tag: str | None) -> Step | None:
        left = self._tokens_left(state)
        return Step(left, self._eos, structural_tag) if left > 0 else None

    def _tokens_left(self, state: TurnState) -> int:
        return self._limits.max_tokens - state.charged_tokens
