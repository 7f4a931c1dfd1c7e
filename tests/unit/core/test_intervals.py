import math
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotool_core.intervals import (
    Interval,
    difference_interval,
    mcnemar,
    percentile_interval,
    proportion_interval,
    ratio,
    resampled_sums,
    wilson,
)


def test_resamples_stay_within_their_stratum() -> None:
    values = np.array([[1.0], [1.0], [1.0], [0.0], [0.0]])
    sums = resampled_sums(values, np.array([0, 0, 0, 1, 1]), resamples=50)
    assert sums.shape == (2, 50, 1)
    assert (sums[0] == 3).all()
    assert (sums[1] == 0).all()


def test_resampled_sums_scatter_as_a_binomial_does() -> None:
    values = np.array([[1.0]] * 30 + [[0.0]] * 70)
    sums = resampled_sums(values, np.zeros(100, dtype=int), resamples=20_000)[0, :, 0]
    assert sums.mean() == pytest.approx(30, abs=0.15)
    assert sums.var() == pytest.approx(100 * 0.3 * 0.7, rel=0.05)


def test_columns_of_a_row_are_drawn_together() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [5.0, 50.0]])
    sums = resampled_sums(values, np.zeros(3, dtype=int), resamples=100)[0]
    assert (sums[:, 1] == 10 * sums[:, 0]).all()
    assert len(np.unique(sums[:, 0])) > 3


def test_the_seed_determines_the_resamples_and_another_stratum_does_not_change_them() -> None:
    values, strata = np.array([[float(index)] for index in range(20)]), np.zeros(20, dtype=int)
    more = resampled_sums(np.vstack([values, [[1.0]]]), np.append(strata, 1))
    assert (resampled_sums(values, strata)[0] == more[0]).all()
    assert (resampled_sums(values, strata, seed=1) != more[0]).any()


def test_a_stratum_without_rows_sums_to_zero() -> None:
    assert resampled_sums(np.array([[1.0]]), np.array([1]), resamples=2).tolist() == [[[0.0], [0.0]], [[1.0], [1.0]]]


def test_percentiles_take_infinite_statistics() -> None:
    interval = percentile_interval(np.array([1.0] * 90 + [math.inf] * 10))
    assert interval == Interval(1.0, math.inf)
    assert percentile_interval(np.array([float(index) for index in range(1, 1001)])) == Interval(25.0, 975.0)


def test_a_ratio_over_zero_is_infinite() -> None:
    assert ratio(np.array([4.0, 4.0]), np.array([2.0, 0.0])).tolist() == [2.0, math.inf]


def test_wilson_of_a_known_case() -> None:
    # 8 of 10: centre (0.8 + z²/20) / (1 + z²/10) = 0.7167, half width 0.2266.
    interval = wilson(8, 10)
    assert interval.low == pytest.approx(0.4902, abs=1e-4)
    assert interval.high == pytest.approx(0.9433, abs=1e-4)


def test_wilson_replaces_a_bootstrap_without_width_if_none_is_solved() -> None:
    assert proportion_interval(np.zeros(100), 10) == wilson(0, 10)
    assert proportion_interval(np.zeros(100), 10).high == pytest.approx(0.2775, abs=1e-4)
    assert proportion_interval(np.array([0.0, 10.0] * 50), 10) == Interval(0.0, 1.0)


def test_without_a_differing_pair_the_interval_has_a_width() -> None:
    assert difference_interval(np.zeros(100), 10) == Interval(-wilson(0, 10).high, wilson(0, 10).high)
    assert difference_interval(np.array([-1.0, 2.0] * 50), 10) == Interval(-0.1, 0.2)


@pytest.mark.parametrize("sign", [1, -1])
def test_if_every_resample_has_the_same_difference_the_interval_has_a_width(sign: int) -> None:
    interval, bounds = difference_interval(np.full(100, 3.0 * sign), 6), wilson(3, 6)
    assert sorted((sign * interval.low, sign * interval.high)) == [bounds.low, bounds.high]
    assert interval.low < sign * 0.5 < interval.high


def test_mcnemar_of_known_cases() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert mcnemar(0, 1000) == 2 / 2**1000


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_two_sided_binomial_test(only_a: int, only_b: int) -> None:
    n, few = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(n, k) for k in range(few + 1)) / 2**n
    assert mcnemar(only_a, only_b) == pytest.approx(min(1.0, 2 * tail))
