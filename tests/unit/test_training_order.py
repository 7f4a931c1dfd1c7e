"""The order of an SFT run: every sequence in turn, like lengths together, levels one after the other."""

from collections import Counter

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.order import in_batches, joining


def test_each_comes_once_before_any_comes_twice() -> None:
    order = in_batches(list(range(10)), [0] * 10, batch=4, batches=7, seed=0)
    assert len(order) == 28
    assert max(Counter(order).values()) - min(Counter(order).values()) <= 1


def test_batches_are_of_like_length() -> None:
    lengths = [10, 500] * 32
    order = in_batches(lengths, [0] * 64, batch=8, batches=8, seed=3)
    spread = [max(part) - min(part) for part in ([lengths[at] for at in order[i : i + 8]] for i in range(0, 64, 8))]
    # A pool of four batches is half long and half short but for chance: at most one batch of it is mixed.
    assert sum(one > 0 for one in spread) <= 2


def test_a_level_joins_with_each_tenth_of_the_run() -> None:
    levels = joining([5, None, 1, 2, 2, 3])
    assert levels == [3, 0, 0, 1, 1, 2]
    order = in_batches([1] * 6, levels, batch=1, batches=400, seed=0)
    first = {level: min(at for at, index in enumerate(order) if levels[index] == level) for level in range(4)}
    assert first[0] == 0
    for level in (1, 2, 3):
        assert 40 * level <= first[level] < 40 * level + 12
    # Once all have joined, each comes as often as the others.
    late = Counter(order[160:])
    assert max(late.values()) - min(late.values()) <= 1 + 1


def test_a_short_run_sees_every_level_too() -> None:
    assert in_batches([1] * 3, [0, 1, 2], batch=1, batches=10, seed=0)[0] == 0
    assert set(in_batches([1] * 3, [0, 1, 2], batch=4, batches=3, seed=0)) == {0, 1, 2}


def test_more_than_ten_levels_have_all_joined_at_the_end() -> None:
    assert joining(range(14)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9]


def test_the_seed_alone_draws() -> None:
    lengths, levels = list(range(50)), [0] * 50
    one, again, other = (in_batches(lengths, levels, batch=5, batches=20, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_a_run_needs_a_start() -> None:
    with pytest.raises(AutoToolError, match="lowest level is 0"):
        in_batches([1], [1], batch=1, batches=1, seed=0)
