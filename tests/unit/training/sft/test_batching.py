"""The order of an SFT run: every sequence in turn, like lengths together."""

from collections import Counter

from autotool_training.sft.batching import batch_by_length


def test_each_comes_once_before_any_comes_twice() -> None:
    order = batch_by_length(list(range(10)), batch=2, parts=2, steps=7, seed=0)
    assert len(order) == 28
    assert max(Counter(order).values()) - min(Counter(order).values()) <= 1


def test_a_steps_batches_are_of_like_length_and_its_steps_are_not() -> None:
    lengths = [10, 500] * 160
    order = batch_by_length(lengths, batch=8, parts=4, steps=10, seed=3)
    steps = [[lengths[at] for at in order[i : i + 32]] for i in range(0, 320, 32)]
    mixed = [len(set(step[i : i + 8])) > 1 for step in steps for i in range(0, 32, 8)]
    assert sum(mixed) <= 10
    # Each step is a sample of all: with steps of like length the mean loss would weigh a short answer's tokens more.
    assert all(0.2 < step.count(10) / 32 < 0.8 for step in steps)


def test_the_seed_alone_draws() -> None:
    lengths = list(range(50))
    one, again, other = (batch_by_length(lengths, batch=5, parts=2, steps=10, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
