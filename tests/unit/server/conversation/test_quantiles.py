"""Quantiles of a mixture: their ranks, their weights, and how often the next value lies between them."""

import random

import pytest

from autotool_server.conversation.quantiles import Quantiles, quantiles


def test_ranks() -> None:
    assert quantiles([(1.0, [*range(1, 20)])]) == Quantiles(1, 10, 19)
    assert quantiles([(1.0, [*range(1, 100)])]) == Quantiles(5, 50, 95)
    assert quantiles([(1.0, [3, 1, 2])]) == Quantiles(1, 2, 3)
    assert quantiles([(1.0, [7])]) == Quantiles(7, 7, 7)


def test_nothing_is_known() -> None:
    assert quantiles([]) is None
    assert quantiles([(1.0, [])]) is None
    assert quantiles([(0.95, [1, 2]), (0.05, [])]) is None
    assert quantiles([(0.96, [*range(99)]), (0.04, [])]) is not None


def test_a_mixture_has_the_weights_of_its_samples() -> None:
    short, long = [10.0 + value for value in range(99)], [1000.0 + value for value in range(199)]
    mixed = quantiles([(0.8, short), (0.2, long)])
    assert mixed is not None
    assert mixed.p50 == pytest.approx(10 + 62, abs=1)  # 0.5 / 0.8 of the short ones
    assert mixed.p95 == pytest.approx(1000 + 157, abs=1)  # (0.95 - 0.8 * 99 / 100) / 0.2 of the long ones
    assert quantiles([(1.0, short), (0.0, long)]) == quantiles([(1.0, short)])


@pytest.mark.parametrize("size", [19, 60, 200])
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_nine_of_ten_next_values_are_between(size: int, share: float) -> None:
    rng = random.Random(size)  # noqa: S311 not a secret

    def draw(is_first: bool) -> float:
        return rng.lognormvariate(3, 0.5) if is_first else rng.lognormvariate(5, 0.7)

    within = 0
    for _ in range(2000):
        found = quantiles(
            [(weight, [draw(first) for _ in range(size)]) for weight, first in ((share, True), (1 - share, False))]
        )
        assert found is not None
        within += found.p5 <= draw(rng.random() < share) <= found.p95
    assert 0.885 < within / 2000 < 0.97
