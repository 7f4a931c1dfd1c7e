"""The part of a limit of tokens that reasoning leaves to the answer, where the reasoning has no limit of its own."""

import math

DEFAULT_SHARE = 0.25
MAX_TOKENS = 1024
"""Tokens that an answer never needs more of while the model still reasons."""


def answer_reserve(limit: int, share: float = DEFAULT_SHARE) -> int:
    """Return the tokens of a limit that are left to the answer.

    >>> answer_reserve(100), answer_reserve(10_000)
    (25, 1024)
    """
    return min(math.ceil(limit * share), MAX_TOKENS)
