"""In what order SFT sees its sequences: batches of like length and, as a curriculum, one level after the other.

All levels at once keep a small model from scratch from ever beginning to copy from its prompt (docs/log.md). Level 1 alone
teaches it that in a tenth of the run, and each further level then joins what it can do already.
"""

import math
import random
from collections.abc import Sequence

from autotool_core.errors import AutoToolError

PHASES = 10
"""Parts of a run; with each of them a further level joins."""
POOL = 4
"""Batches that are drawn together and sorted by length, so that little of them is padding."""


class _Deck:
    """Draws what has joined: each sequence once before any comes twice, anew when a level joins."""

    def __init__(self, draw: random.Random, levels: Sequence[int]) -> None:
        self._draw, self._levels = draw, levels
        self._joined: list[int] = []
        self._left: list[int] = []

    def join(self, highest: int) -> None:
        joined = [at for at, level in enumerate(self._levels) if level <= highest]
        if len(joined) > len(self._joined):
            self._joined, self._left = joined, []

    def next(self) -> int:
        if not self._left:
            self._left = self._draw.sample(self._joined, len(self._joined))
        return self._left.pop()


def in_batches(lengths: Sequence[int], levels: Sequence[int], *, batch: int, batches: int, seed: int) -> list[int]:
    """Indices of the sequences for a whole run of `batches` times `batch`.

    `levels`, from 0, says after how many tenths of the run each sequence joins. Raises AutoToolError if none is there from
    the start.
    """
    if min(levels, default=1) > 0:
        raise AutoToolError("No sequence is there at the start of the run: the lowest level is 0.")
    draw = random.Random(seed)  # noqa: S311 an order, not a secret
    deck = _Deck(draw, levels)
    indices: list[int] = []
    phases = sorted(set(levels))
    for phase, following in zip(phases, [*phases[1:], PHASES], strict=True):
        deck.join(phase)
        end = math.ceil(following * batches / PHASES) * batch
        while len(indices) < end:
            pool = sorted((deck.next() for _ in range(min(POOL * batch, end - len(indices)))), key=lambda at: lengths[at])
            parts = [pool[at : at + batch] for at in range(0, len(pool), batch)]
            draw.shuffle(parts)
            indices += [at for part in parts for at in part]
    return indices


def joining(levels: Sequence[int | None]) -> list[int]:
    """When each level joins: the lowest and no level with 0, the next with 1, and so on to 9 at the most."""
    ranks = {level: min(rank, PHASES - 1) for rank, level in enumerate(sorted({one for one in levels if one is not None}))}
    return [0 if level is None else ranks[level] for level in levels]
