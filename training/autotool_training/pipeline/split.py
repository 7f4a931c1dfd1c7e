"""Divides records into those that are trained on and those that the result is measured on, by whole conversations."""

import random
from collections import defaultdict
from collections.abc import Sequence

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data.overlap import words

SHARE, MOST = 5, 200
"""One of SHARE conversations is held out, and at most MOST of all."""

_Asked = tuple[tuple[str, str], ...]


def conversations(records: Sequence[Record]) -> list[list[Record]]:
    """Return the records of each conversation: those of one row, and of rows that log a conversation again as it grows.

    A row goes on from another one if its requests begin with those of the other, or with more than one of them, as those of an
    edited request do. Of several that share one request alone and go on in different ways, as chats do that begin with "Hi",
    only one is of its conversation.
    """
    rows: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        rows[record.id.rpartition("/")[0]].append(record)
    asked = {row: max(map(_asked, made), key=len) for row, made in rows.items()}
    found: list[list[Record]] = []
    last: _Asked | None = None
    # In this order the rows that begin with the requests of another one follow it.
    for row in sorted(rows, key=asked.__getitem__):
        if last is None or not _goes_on(last, asked[row]):
            found.append([])
        found[-1] += rows[row]
        last = asked[row]
    return found


def _goes_on(first: _Asked, second: _Asked) -> bool:
    shared = next((place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), len(first))
    return shared == len(first) or sum(role == "user" for role, _ in first[:shared]) > 1


def count_repeated(kept: Sequence[Record], held: Sequence[Record]) -> int:
    """Return the number of held-out records whose last request, but for case and punctuation, is one of a kept record too."""
    asked = {_last_request(record) for record in kept}
    return sum(_last_request(record) in asked for record in held)


def _last_request(record: Record) -> tuple[str, ...]:
    return words(next(message["content"] for message in reversed(record.messages) if message["role"] == "user"))


def hold_out(records: Sequence[Record], count: int | None, seed: int) -> tuple[list[Record], list[Record]]:
    """Return the records to train on and the held-out ones, those of `count` conversations that the seed draws.

    None as the count is a fifth of the conversations, at most 200. A drawn record with the requests of one that is trained on,
    such as the answer to a greeting, is in neither list. Raises AutoToolError if none would be left to train on.
    """
    found = conversations(records)
    count = count or min(max(len(found) // SHARE, 1), MOST)
    if count >= len(found):
        raise AutoToolError(f"There are {len(found)} conversations, and {count} of them are to be held out: give more data.")
    drawn = random.Random(f"{seed}/held out").sample(found, count)  # noqa: S311 not a secret
    ids = {record.id for conversation in drawn for record in conversation}
    kept = [record for record in records if record.id not in ids]
    trained = {_asked(record) for record in kept}
    return kept, [record for record in records if record.id in ids and _asked(record) not in trained]


def _asked(record: Record) -> _Asked:
    """Return the roles and texts of what the system and the user have said so far, but for case and white space."""
    said = ((message["role"], message["content"]) for message in record.messages if message["role"] in ("system", "user"))
    return tuple((role, " ".join(text.casefold().split())) for role, text in said)
