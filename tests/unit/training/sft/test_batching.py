"""The order of an SFT run: every sequence in turn, similar lengths together."""

from collections import Counter

from autotool_training.sft.batching import batch_by_length


def test_each_comes_once_before_any_comes_twice() -> None:
    order = batch_by_length(list(range(10)), batch=2, parts=2, steps=7, seed=0)
    assert len(order) == 28
    assert max(Counter(order).values()) - min(Counter(order).values()) <= 1


def test_the_batches_of_a_step_have_similar_lengths_and_steps_do_not() -> None:
    lengths = [10, 500] * 160
    order = batch_by_length(lengths, batch=8, parts=4, steps=10, seed=3)
    steps = [[lengths[at] for at in order[i : i + 32]] for i in range(0, 320, 32)]
    mixed = [len(set(step[i : i + 8])) > 1 for step in steps for i in range(0, 32, 8)]
    assert sum(mixed) <= 10
    # Each step is a sample of all: with steps of like length the mean loss would weigh a short answer's tokens more.
    assert all(0.2 < step.count(10) / 32 < 0.8 for step in steps)


def test_only_the_seed_changes_the_result() -> None:
    lengths = list(range(50))
    one, same, other = (batch_by_length(lengths, batch=5, parts=2, steps=10, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
