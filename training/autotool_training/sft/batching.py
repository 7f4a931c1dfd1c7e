"""The order of SFT's sequences: within an optimiser step, batches of similar length."""

import random
from collections.abc import Sequence


def batch_by_length(lengths: Sequence[int], *, batch: int, parts: int, steps: int, seed: int) -> list[int]:
    """Return the indices of the sequences for a run of `steps` optimiser steps of `parts` batches each.

    Every sequence comes once before any comes twice. The sequences of a step are sorted by length, so that little of a
    batch is padding. Sequences are not sorted over several steps: the loss of a step is the mean over its tokens, and in a
    step of only short answers the decision token would weigh several times as much as in one of long answers.
    """
    draw = random.Random(seed)  # noqa: S311 an order, not a secret
    indices: list[int] = []
    left: list[int] = []
    for _ in range(steps):
        pool: list[int] = []
        for _ in range(parts * batch):
            left = left or draw.sample(range(len(lengths)), len(lengths))
            pool.append(left.pop())
        pool.sort(key=lambda index: lengths[index])
        indices += pool
    return indices
