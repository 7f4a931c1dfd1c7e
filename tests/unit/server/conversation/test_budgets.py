"""How many tokens a turn may decode, and of which section."""

import pytest

from autotool_core.profile import BUILTIN, Profile
from autotool_server.conversation.budgets import DefaultBudgets, RequestedBudgets, turn_limits
from autotool_server.conversation.plan import TurnLimits
from autotool_server.settings import Settings

ROOM = 5000


DEFAULTS = DefaultBudgets(answer_reserve=0.25)


def limits(asked: RequestedBudgets, defaults: DefaultBudgets = DEFAULTS, *, can_think: bool = True) -> TurnLimits:
    return turn_limits(asked, defaults, ROOM, None, can_think=can_think)


@pytest.mark.parametrize(
    ("asked", "total", "reasoning", "answer"),
    [
        (RequestedBudgets(100), 100, 75, None),
        (RequestedBudgets(1), 1, 0, None),
        (RequestedBudgets(100, effort_budget=20), 100, 20, None),
        (RequestedBudgets(100, effort_budget=2000), 100, 75, None),
        # The answer's part has a limit of its own.
        (RequestedBudgets(5000), 5000, 5000 - 1024, None),
        (RequestedBudgets(100, 30), ROOM, 30, 100),
        (RequestedBudgets(100, 0), ROOM, 0, 100),
        (RequestedBudgets(None, 30), ROOM, 30, 4096),
        (RequestedBudgets(None, 4000), ROOM, 4000, 4096),
        # More than the context has room for.
        (RequestedBudgets(32000), ROOM, ROOM - 1024, None),
        (RequestedBudgets(100, 32000), ROOM, ROOM - 1, 100),
        (RequestedBudgets(None), ROOM, ROOM - 1024, 4096),
        (RequestedBudgets(None, effort_budget=50), ROOM, 50, 4096),
        (RequestedBudgets(100, 30, is_total=True), 100, 30, None),
        (RequestedBudgets(100, 90, is_total=True), 100, 75, None),
        (RequestedBudgets(8, decides=True), 7, 5, None),
        (RequestedBudgets(2, decides=True), 1, 0, None),
        (RequestedBudgets(1, decides=True), 1, 0, None),
        # A budget of the request is taken for the effort's.
        (RequestedBudgets(None, 30, 50), ROOM, 30, 4096),
    ],
)
def test_limits_of_a_turn_that_may_reason(asked: RequestedBudgets, total: int, reasoning: int, answer: int | None) -> None:
    has_step = asked.max_reasoning_tokens is not None and not asked.is_total
    assert limits(asked) == TurnLimits(total, reasoning, None, answer, has_reasoning_step=has_step)


@pytest.mark.parametrize(("asked", "total"), [(RequestedBudgets(100, 30), 100), (RequestedBudgets(), 4096)])
def test_limits_of_a_turn_that_cannot_reason(asked: RequestedBudgets, total: int) -> None:
    assert limits(asked, can_think=False) == TurnLimits(total)


def test_the_context_for_those_who_want_it() -> None:
    defaults = DefaultBudgets.of(Settings(default_max_tokens="context"), BUILTIN["smollm2-autotool"])
    assert defaults.max_tokens is None
    assert limits(RequestedBudgets(), defaults, can_think=False) == TurnLimits(ROOM)


def test_the_servers_limits_win_over_the_profiles() -> None:
    profile = Profile(name="p", default_max_tokens=3, default_max_reasoning_tokens=4)
    assert DefaultBudgets.of(Settings(), profile) == DefaultBudgets(3, 4, 0.25)
    given = Settings(default_max_tokens=5, default_max_reasoning_tokens=0, answer_reserve=0.5)
    assert DefaultBudgets.of(given, profile) == DefaultBudgets(5, 0, 0.5)
    assert DefaultBudgets.of(Settings(), Profile(name="p")) == DefaultBudgets(4096, None, 0.25)
