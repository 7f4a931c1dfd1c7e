"""The order of an SFT run: every sequence in turn, like lengths together."""

from collections import Counter

from autotool_training.order import in_batches


def test_each_comes_once_before_any_comes_twice() -> None:
    order = in_batches(list(range(10)), batch=4, batches=7, seed=0)
    assert len(order) == 28
    assert max(Counter(order).values()) - min(Counter(order).values()) <= 1


def test_batches_are_of_like_length() -> None:
    lengths = [10, 500] * 32
    order = in_batches(lengths, batch=8, batches=8, seed=3)
    spread = [max(part) - min(part) for part in ([lengths[at] for at in order[i : i + 8]] for i in range(0, 64, 8))]
    # A pool of four batches is half long and half short but for chance: at most one batch of it is mixed.
    assert sum(one > 0 for one in spread) <= 2


def test_the_seed_alone_draws() -> None:
    lengths = list(range(50))
    one, again, other = (in_batches(lengths, batch=5, batches=20, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
