"""The steps of a turn, decided without an engine."""

from typing import Any, Literal

import pytest

from autotool_core.profile import ThinkFormat
from autotool_server.conversation.plan import Step, Transition, TurnLimits, TurnPlan, TurnState

EOS, CLOSE = (1,), (2,)
GRAMMAR = '{"type": "structural_tag"}'
CLOSING = "\n</think>\n\n"


def plan(
    max_tokens: int = 10, budget: int | None = None, structural_tag: str | None = None, answer: int | None = None
) -> TurnPlan:
    return TurnPlan(TurnLimits(max_tokens, budget, structural_tag, answer), ThinkFormat(closing_phrase=" So:"), EOS, CLOSE)


def reasoning(tokens: int = 0, finish_reason: Literal["stop", "length"] = "stop") -> TurnState:
    return TurnState(True, tokens, reasoning_tokens=tokens, finish_reason=finish_reason)


def answering(tokens: int = 0, *, reasoned: int = 0, ended: bool = False) -> TurnState:
    return TurnState(False, tokens + reasoned, reasoned, tokens, ended=ended)


def test_a_short_turn_is_one_step_with_its_grammar() -> None:
    assert plan(structural_tag=GRAMMAR).first(answering()) == Transition(Step(10, EOS, GRAMMAR))


def test_a_long_turn_without_budget_or_grammar_is_one_step() -> None:
    first = plan().first(reasoning())
    assert first == Transition(Step(10, EOS))
    assert first.step is not None
    assert plan().following(first.step, answering(4)) is None


def test_a_budget_takes_no_step_of_its_own() -> None:
    assert plan(100, budget=3, answer=7).first(reasoning()) == Transition(Step(10, EOS))
    assert plan(8, budget=3, answer=7).first(reasoning()) == Transition(Step(8, EOS))


@pytest.mark.parametrize(("budget", "tokens"), [(None, 10), (3, 3), (30, 10)])
def test_reasoning_before_a_grammar_is_a_step_that_ends_with_its_marker(budget: int | None, tokens: int) -> None:
    first = plan(10, budget, GRAMMAR).first(reasoning())
    assert first == Transition(Step(tokens, (*EOS, *CLOSE), reasoning_only=True))


def test_the_answer_follows_reasoning_that_the_model_closed() -> None:
    made = plan(20, 5, GRAMMAR, answer=10)
    step = Step(5, (*EOS, *CLOSE), reasoning_only=True)
    assert made.following(step, answering(0, reasoned=4)) == Transition(Step(10, EOS, GRAMMAR), injected="\n\n")


@pytest.mark.parametrize("grammar", [None, GRAMMAR])
def test_a_used_up_budget_closes_the_think_block_and_an_answer_follows(grammar: str | None) -> None:
    step = Step(5, (*EOS, *CLOSE), reasoning_only=grammar is not None)
    following = plan(20, 5, grammar, answer=10).following(step, reasoning(5, "length"))
    assert following == Transition(Step(10, EOS, grammar), " So:" + CLOSING, closes_reasoning=True, reasoning_truncated=True)


def test_a_limit_of_the_whole_turn_counts_the_reasoning() -> None:
    following = plan(20, 15).following(Step(20, EOS), reasoning(15, "length"))
    assert following is not None
    assert following.step == Step(5, EOS)


def test_a_budget_of_none_at_all_closes_the_block_before_the_first_token() -> None:
    first = plan(20, 0, answer=10).first(reasoning())
    assert first == Transition(Step(10, EOS), " So:" + CLOSING, closes_reasoning=True, reasoning_truncated=True)


def test_a_model_that_ends_its_turn_while_it_reasons_still_answers() -> None:
    following = plan(10).following(Step(10, EOS), reasoning(4))
    assert following == Transition(Step(6, EOS), CLOSING, closes_reasoning=True)


def test_the_limit_of_the_whole_turn_ends_it_inside_the_block() -> None:
    assert plan(10).following(Step(10, EOS), reasoning(10, "length")) is None


def test_no_token_left_for_the_answer_ends_the_turn() -> None:
    step = Step(10, (*EOS, *CLOSE), reasoning_only=True)
    following = plan(10, None, GRAMMAR).following(step, answering(10))
    assert following is not None
    assert following.step is None


def test_nothing_follows_a_stop_string_or_an_answer() -> None:
    assert plan().following(Step(10, EOS), answering(3, ended=True)) is None
    assert plan().following(Step(10, EOS), answering(3)) is None


def limited(**limits: Any) -> TurnPlan:
    return TurnPlan(TurnLimits(10, None, None, **limits), ThinkFormat(), EOS, CLOSE)


def test_stop_tokens_end_the_answer_and_not_the_reasoning() -> None:
    made = limited(stop_token_ids=(7,))
    first = made.first(reasoning())
    assert first == Transition(Step(10, (*EOS, *CLOSE), reasoning_only=True))
    assert first.step is not None
    assert made.following(first.step, answering(4)) == Transition(Step(6, (*EOS, 7)), injected="\n\n")
    assert made.first(answering()) == Transition(Step(10, (*EOS, 7)))


def test_min_tokens_are_those_that_the_turn_has_not_yet_decoded() -> None:
    assert limited(min_tokens=6).first(reasoning()) == Transition(Step(10, EOS, min_tokens=6))
    made = limited(min_tokens=6, stop_token_ids=(7,))
    assert made.following(Step(10, EOS, reasoning_only=True), answering(4)) == Transition(
        Step(6, (*EOS, 7), min_tokens=2), injected="\n\n"
    )
    assert made.following(Step(10, EOS, reasoning_only=True), answering(8)) == Transition(Step(2, (*EOS, 7)), injected="\n\n")


def test_a_grammar_is_not_bound_by_stop_tokens() -> None:
    made = TurnPlan(TurnLimits(10, None, GRAMMAR, stop_token_ids=(7,)), ThinkFormat(), EOS, CLOSE)
    assert made.first(answering()) == Transition(Step(10, EOS, GRAMMAR))


def test_a_block_is_closed_for_the_model_once() -> None:
    """gpt-oss may open it again, and would never come to an answer."""
    made = plan(90, 5, answer=70)
    closed = made.following(Step(12, EOS), reasoning(5, "length"))
    assert closed is not None
    assert closed.step is not None
    assert made.following(closed.step, reasoning(6, "length")) == Transition(None)
