"""In what order SFT sees its sequences: batches of like length."""

import random
from collections.abc import Sequence

POOL = 4
"""Batches that are drawn together and sorted by length, so that little of them is padding."""


def in_batches(lengths: Sequence[int], *, batch: int, batches: int, seed: int) -> list[int]:
    """Indices of the sequences for a whole run of `batches` times `batch`: each comes once before any comes twice."""
    draw = random.Random(seed)  # noqa: S311 an order, not a secret
    indices: list[int] = []
    left: list[int] = []
    while len(indices) < batches * batch:
        pool: list[int] = []
        for _ in range(min(POOL * batch, batches * batch - len(indices))):
            left = left or draw.sample(range(len(lengths)), len(lengths))
            pool.append(left.pop())
        pool.sort(key=lambda at: lengths[at])
        parts = [pool[at : at + batch] for at in range(0, len(pool), batch)]
        draw.shuffle(parts)
        indices += [at for part in parts for at in part]
    return indices
