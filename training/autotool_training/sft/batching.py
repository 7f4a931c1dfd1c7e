"""In what order SFT sees its sequences: within an optimiser step, batches of like length."""

import random
from collections.abc import Sequence


def in_batches(lengths: Sequence[int], *, batch: int, parts: int, steps: int, seed: int) -> list[int]:
    """Indices of the sequences for a whole run of optimiser steps of `parts` batches: each comes once before any comes twice.

    The sequences of a step are sorted by length, so that little of a batch is padding. Never those of several steps: the
    loss of a step is the mean over its tokens, and in a step of short answers alone the decision token would weigh several
    times what it does in one of long answers.
    """
    draw = random.Random(seed)  # noqa: S311 an order, not a secret
    indices: list[int] = []
    left: list[int] = []
    for _ in range(steps):
        pool: list[int] = []
        for _ in range(parts * batch):
            left = left or draw.sample(range(len(lengths)), len(lengths))
            pool.append(left.pop())
        pool.sort(key=lambda at: lengths[at])
        indices += pool
    return indices
