"""The plan of a turn: which engine steps it takes, and what is injected between them. No engine, no text: pure decisions.

A turn is one or two engine steps, each a plain generation from token ids. There are two where a grammar must not constrain
the think block, where the request limits the reasoning, and where the think block reaches a limit and is closed for the
model. (The decision of `auto` is a step of its own that comes before: `conversation.turn_decision`.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    min_tokens: int = 0
    """The step's tokens before the first stop token."""


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
    decoded_tokens: int
    """All decoded tokens of the turn but the decision token."""
    reasoning_tokens: int = 0
    """Those of the think block."""
    content_tokens: int = 0
    """Those of the answer."""
    finish_reason: FinishReason = "stop"
    """How the last step ended."""
    ended: bool = False
    """Whether a stop string, a stop token or a tool call has ended the answer."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What bounds and constrains the steps of a turn. Limits count decoded tokens."""

    max_tokens: int
    """Limit of the whole turn."""
    max_reasoning_tokens: int | None = None
    """Limit of the think block, which is then closed for the model; None for no limit of its own."""
    structural_tag: str | None = None
    """Grammar of the answer; the think block stands before it."""
    max_answer_tokens: int | None = None
    """Limit of the answer; None for no limit of its own."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the answer, besides those that end the turn; in the think block they are text."""
    min_tokens: int = 0
    """Decoded tokens before the answer may end; of the answer alone if it has a limit of its own."""
    has_reasoning_step: bool = False
    """Whether the think block is a step of its own, which ends by itself: an engine that is stopped early may decode more,
    and may not report what it took from its cache."""

    @property
    def expected(self) -> int:
        """Limit of the tokens that are expected: reasoning that only the context limits is left out."""
        if self.max_answer_tokens is None:
            return self.max_tokens
        reasoning = (self.max_reasoning_tokens or 0) if self.has_reasoning_step else 0
        return min(self.max_tokens, reasoning + self.max_answer_tokens)

    @property
    def divides_sections(self) -> bool:
        """Whether the answer needs a step of its own, because what holds for it does not hold for the think block."""
        has_answer_minimum = self.min_tokens > 0 and self.max_answer_tokens is not None
        has_grammar = self.structural_tag is not None
        return has_grammar or bool(self.stop_token_ids) or has_answer_minimum or self.has_reasoning_step

    def tokens_left(self, state: TurnState) -> int:
        """Return how many tokens the rest of the turn may have."""
        left = self.max_tokens - state.decoded_tokens
        if self.max_answer_tokens is None or (state.in_reasoning and self.max_reasoning_tokens is None):
            return left
        reasoning_left = (self.max_reasoning_tokens or 0) - state.reasoning_tokens if state.in_reasoning else 0
        return min(left, reasoning_left + self.max_answer_tokens - state.content_tokens)

    def tokens_missing(self, state: TurnState) -> int:
        """Return how many more tokens there must be before the answer may end."""
        counted = state.decoded_tokens if self.max_answer_tokens is None else state.content_tokens
        return max(self.min_tokens - counted, 0)

    def is_reached(self, *, in_reasoning: bool, reasoning_tokens: int, content_tokens: int) -> bool:
        """Return whether the section that the turn is in has as many tokens as it may have."""
        limit, tokens = (
            (self.max_reasoning_tokens, reasoning_tokens) if in_reasoning else (self.max_answer_tokens, content_tokens)
        )
        return limit is not None and tokens >= limit


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
        self._has_closed = False

    def first(self, state: TurnState) -> Transition:
        """Return the step that the turn begins with."""
        limits = self._limits
        if not state.in_reasoning:
            return self._answer(state)
        if limits.max_reasoning_tokens == 0:
            return self._close(state, truncated=True)
        if not limits.divides_sections:
            return Transition(self._step(state, None))
        left, budget = limits.tokens_left(state), limits.max_reasoning_tokens
        tokens = left if budget is None else min(left, budget)
        step = Step(tokens, (*self._eos, *self._close_ids), reasoning_only=True)
        return Transition(step if tokens > 0 else None)

    def following(self, step: Step, state: TurnState) -> Transition | None:
        """Return what follows after a step; None when the turn is over."""
        if state.ended:
            return None
        if step.reasoning_only and not state.in_reasoning:
            return self._answer(state, injected=self._think.answer_separator if self._think is not None else "")
        if not state.in_reasoning:
            return None
        budget = self._limits.max_reasoning_tokens
        truncated = budget is not None and state.reasoning_tokens >= budget
        if state.finish_reason == "length" and not truncated:
            return None
        # The model ran out of its reasoning budget, or ended its turn inside the think block: an answer follows.
        return self._close(state, truncated=truncated)

    def _close(self, state: TurnState, *, truncated: bool) -> Transition:
        if self._has_closed:
            # A model that opens its block again and again would have it closed for ever.
            return Transition(None)
        self._has_closed = True
        think = self._think or ThinkFormat()
        phrase = think.closing_phrase if truncated else ""
        step = self._step(replace(state, in_reasoning=False), self._limits.structural_tag)
        return Transition(step, f"{phrase}{think.closing}", closes_reasoning=True, reasoning_truncated=truncated)

    def _answer(self, state: TurnState, injected: str = "") -> Transition:
        return Transition(self._step(state, self._limits.structural_tag), injected)

    def _step(self, state: TurnState, structural_tag: str | None) -> Step | None:
        limits = self._limits
        left = limits.tokens_left(state)
        least = min(limits.tokens_missing(state), left)
        # A grammar would not let the engine decode a stop token before its end; such a one is found by the reader.
        stops = self._eos if structural_tag is not None else (*self._eos, *limits.stop_token_ids)
        return Step(left, stops, structural_tag, min_tokens=least) if left > 0 else None
