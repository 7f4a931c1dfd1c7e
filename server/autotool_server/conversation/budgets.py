"""How many tokens a turn may decode: by the request, its effort, the server, the profile and the context.

A request that limits the whole turn (`max_tokens`) leaves a part of it to the answer, so that it is never all reasoning.
Limits beyond the context are the context: agents send the same 32,000 tokens to every model.
"""

from dataclasses import dataclass
from typing import Literal

from autotool_core.answer_reserve import answer_reserve
from autotool_core.profile import Profile
from autotool_server.conversation.plan import TurnLimits
from autotool_server.settings import Settings

DEFAULT_MAX_TOKENS = 4096
"""Limit of an answer's tokens where request, server and profile set none."""


@dataclass(frozen=True, slots=True)
class DefaultBudgets:
    """The limits that apply where a request sets none. None is no limit but the context."""

    max_tokens: int | None = DEFAULT_MAX_TOKENS
    """Limit of an answer's tokens."""
    max_reasoning_tokens: int | None = None
    answer_reserve: float = 0.0
    """Part of the whole turn's limit that reasoning leaves to the answer."""

    @classmethod
    def of(cls, settings: Settings, profile: Profile) -> "DefaultBudgets":
        """Return the server's limits, else the profile's."""
        given: int | Literal["context"] = settings.default_max_tokens or profile.default_max_tokens or DEFAULT_MAX_TOKENS
        reasoning = settings.default_max_reasoning_tokens
        return cls(
            None if given == "context" else given,
            profile.default_max_reasoning_tokens if reasoning is None else reasoning,
            settings.answer_reserve,
        )


@dataclass(frozen=True, slots=True)
class RequestedBudgets:
    """The limits that one request sets."""

    max_tokens: int | None = None
    """Limit of the answer if `max_reasoning_tokens` is given, else of the whole turn."""
    max_reasoning_tokens: int | None = None
    effort_budget: int | None = None
    """Limit of the think block by the request's effort."""
    is_total: bool = False
    """Whether `max_tokens` is of the whole turn even if `max_reasoning_tokens` is given."""
    decides: bool = False
    """Whether one token of the whole turn's limit is the decision token. A limit of 1 has a token of the answer besides."""


def turn_limits(
    asked: RequestedBudgets, defaults: DefaultBudgets, room: int, structural_tag: str | None, *, can_think: bool
) -> TurnLimits:
    """Return the limits of a turn for whose decoded tokens the context has `room`, 1 or more.

    >>> turn_limits(RequestedBudgets(max_tokens=100), DefaultBudgets(answer_reserve=0.25), 4000, None, can_think=True)
    TurnLimits(max_tokens=100, max_reasoning_tokens=75, structural_tag=None, max_answer_tokens=None)
    """
    if not can_think:
        limit = asked.max_tokens if asked.max_tokens is not None else defaults.max_tokens
        return TurnLimits(room if limit is None else min(room, limit), None, structural_tag)
    if asked.max_reasoning_tokens is not None and not asked.is_total:
        answer = asked.max_tokens if asked.max_tokens is not None else defaults.max_tokens
        reasoning, limit = min(asked.max_reasoning_tokens, room - 1), room if answer is None else answer
        return TurnLimits(room, reasoning, structural_tag, limit, has_reasoning_step=True)
    total = room if asked.max_tokens is None else min(room, max(asked.max_tokens - asked.decides, 1))
    budgets = (asked.max_reasoning_tokens, asked.effort_budget, defaults.max_reasoning_tokens)
    budget = next((budget for budget in budgets if budget is not None), total)
    reasoning = min(budget, total - answer_reserve(total, defaults.answer_reserve))
    return TurnLimits(total, reasoning, structural_tag, defaults.max_tokens if asked.max_tokens is None else None)
