"""Refinement by hand-computed alignment."""

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.refine.select import alignment, select_records


def test_alignment_by_hand() -> None:
    # Trajectory 0.25, 0.75; left to learn: 0.5625 + 0.0625.
    scores = alignment([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]])
    assert scores == pytest.approx([1.0, 1 - 0.125 / 0.625, 1 - 0.125 / 0.625])


def test_half_of_the_extremes_and_the_unaligned_are_dropped() -> None:
    learning = [[0.2, 0.5, 0.8]] * 10
    unlearning = [[1.0, 0.5, 0.0]]
    rates = [*[[1, 1, 1]] * 5, *[[0, 0, 0]] * 4, *learning, *unlearning]
    refined = select_records(rates, seed=0, min_alignment=0.6)
    assert refined.counts == {
        "items": 20,
        "too_easy": 5,
        "too_hard": 4,
        "dropped_easy": 2,
        "dropped_hard": 2,
        "dropped_unaligned": 1,
        "kept": 15,
    }
    kept = set(refined.kept)
    assert len(kept & set(range(5))) == 3
    assert len(kept & set(range(5, 9))) == 2
    assert kept >= set(range(9, 19))
    assert 19 not in kept
    assert list(refined.kept) == sorted(refined.kept)


def test_extremes_do_not_change_the_trajectory() -> None:
    middle = [[0.2, 0.8], [0.3, 0.7]]
    assert set(select_records([*middle, *[[0, 0]] * 50], seed=0, min_alignment=0.6).kept) >= {0, 1}


def test_an_item_that_always_thinks_and_is_never_right_is_too_hard() -> None:
    learning = [[0.3, 0.8]] * 10
    thinking = [[0.25, 0.25]] * 10
    accuracy = [*[[0.3, 0.9]] * 10, *[[0.0, 0.0]] * 10]
    refined = select_records([*learning, *thinking], seed=0, accuracy=accuracy)
    assert refined.counts["too_hard"] == 10
    assert len(refined.kept) == 15


def test_without_a_threshold_the_better_aligned_half_is_kept_whatever_the_noise() -> None:
    # Rates of two rollouts, none of which comes near the trajectory: a threshold of 0.6 would keep none, and of 0 all.
    rates = [[0.0, 0.5], [0.5, 0.0], [0.0, 0.5], [0.5, 1.0], [0.0, 1.0], [1.0, 0.0]]
    scores = alignment(rates)
    kept = select_records(rates, seed=0).kept
    assert min(scores[index] for index in kept) >= max(scores[index] for index in range(6) if index not in kept)
    assert len(rates) / 2 <= len(kept) < len(rates)
    assert select_records([[1.0]] * 4, seed=0).counts["kept"] == 2


def test_only_the_seed_changes_the_result() -> None:
    rates = [[1.0]] * 40
    assert select_records(rates, seed=1) == select_records(rates, seed=1)
    assert select_records(rates, seed=1).kept != select_records(rates, seed=2).kept


@pytest.mark.parametrize(
    ("rates", "message"),
    [([], "probe rounds"), ([[], []], "probe rounds"), ([[1], [1, 1]], "probe rounds"), ([[1.5]], "between 0 and 1")],
)
def test_invalid_rates(rates: list[list[float]], message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        select_records(rates, seed=0)
