"""Divides records into those that are trained on and those that the result is measured on, by whole conversations."""

import json
import random
from collections.abc import Sequence

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data.overlap import words

SHARE, MOST = 5, 200
"""One of SHARE conversations is held out, and at most MOST of all."""


def conversation(record: Record) -> str:
    """Return how the record's conversation begins: what comes before the first request, and that request.

    All answers of a conversation share it, and so do rows that log one conversation again and again as it grows.
    """
    roles = [message["role"] for message in record.messages]
    return json.dumps(record.messages[: roles.index("user") + 1])


def count_repeated(kept: Sequence[Record], held: Sequence[Record]) -> int:
    """Return the number of held-out records whose last request, but for case and punctuation, is one of a kept record too."""
    asked = {_last_request(record) for record in kept}
    return sum(_last_request(record) in asked for record in held)


def _last_request(record: Record) -> tuple[str, ...]:
    return words(next(message["content"] for message in reversed(record.messages) if message["role"] == "user"))


def hold_out(records: Sequence[Record], count: int | None, seed: int) -> tuple[list[Record], list[Record]]:
    """Return the records to train on and the held-out ones, all answers of `count` conversations that the seed draws.

    None as the count is a fifth of the conversations, at most 200. Raises AutoToolError if none would be left to train on.
    """
    names = list(dict.fromkeys(map(conversation, records)))
    count = count or min(max(len(names) // SHARE, 1), MOST)
    if count >= len(names):
        raise AutoToolError(f"There are {len(names)} conversations, and {count} of them are to be held out: give more data.")
    held = set(random.Random(f"{seed}/held out").sample(names, count))  # noqa: S311 not a secret
    kept = [record for record in records if conversation(record) not in held]
    return kept, [record for record in records if conversation(record) in held]
