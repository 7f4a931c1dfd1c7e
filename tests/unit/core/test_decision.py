import math

import pytest

from autotool_core.decision import Readout, auc, decide
from autotool_core.modes import ResolvedMode


@pytest.mark.parametrize(
    ("log_odds", "bias", "resolved"),
    [
        (1.0, 0.0, ResolvedMode.LONG),
        (-1.0, 0.0, ResolvedMode.SHORT),
        (-1.0, 1.5, ResolvedMode.LONG),
        (1.0, -1.5, ResolvedMode.SHORT),
        (0.0, 0.0, ResolvedMode.SHORT),
    ],
)
def test_temperature_zero_takes_the_likelier_mode_after_bias(log_odds: float, bias: float, resolved: ResolvedMode) -> None:
    assert decide(log_odds, reasoning_bias=bias, temperature=0, uniform=0.0).resolved is resolved


def test_p_long_is_unbiased() -> None:
    decision = decide(math.log(3), reasoning_bias=-50, temperature=0.2, uniform=0.5)
    assert decision.p_long == pytest.approx(0.75)
    assert decision.resolved is ResolvedMode.SHORT


@pytest.mark.parametrize(("uniform", "resolved"), [(0.74, ResolvedMode.LONG), (0.76, ResolvedMode.SHORT)])
def test_sampling_follows_the_probability(uniform: float, resolved: ResolvedMode) -> None:
    assert decide(math.log(3), reasoning_bias=0, temperature=1, uniform=uniform).resolved is resolved


def test_temperature_divides_the_biased_log_odds() -> None:
    threshold = 1 / (1 + math.exp(-(1.0 + 2.0) / 2.0))
    for offset, resolved in ((-1e-6, ResolvedMode.LONG), (1e-6, ResolvedMode.SHORT)):
        assert decide(1.0, reasoning_bias=2.0, temperature=2.0, uniform=threshold + offset).resolved is resolved


@pytest.mark.parametrize("log_odds", [-1e4, 1e4])
def test_extreme_odds_do_not_overflow(log_odds: float) -> None:
    assert decide(log_odds, reasoning_bias=0, temperature=0.01, uniform=0.5).p_long == (1.0 if log_odds > 0 else 0.0)


def test_the_decision_tokens_decide_alone_by_default() -> None:
    assert Readout().log_odds((-1.0, -3.0)) == 2.0


def test_a_readout_weighs_the_candidates() -> None:
    readout = Readout((0.0, 0.0, 2.0, -2.0), intercept=0.5)
    assert readout.log_odds((-math.inf, -1.0, -2.0, -3.0)) == 2.5
    assert readout.log_odds((-math.inf, 4.0, 3.0, 2.0)) == 2.5  # up to a constant


@pytest.mark.parametrize(
    ("log_odds", "is_long", "wanted"),
    [
        ([1, 2, 3, 4], [False, False, True, True], 1.0),
        ([1, 2, 3, 4], [True, True, False, False], 0.0),
        ([1, 2, 3, 4], [True, False, True, False], 0.25),
        ([5, 5, 5], [True, False, True], 0.5),
        ([1, 2, 2, 3], [False, False, True, True], 0.875),
    ],
)
def test_auc_is_the_share_of_ordered_pairs(log_odds: list[float], is_long: list[bool], wanted: float) -> None:
    assert auc(log_odds, is_long) == wanted


def test_auc_needs_one_of_each() -> None:
    with pytest.raises(ValueError, match="one that is long"):
        auc([1.0, 2.0], [True, True])
