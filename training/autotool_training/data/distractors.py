"""More tools than a record needs, drawn from its source's, so that the right one has to be chosen; or only such tools.

The words of a tool's name, common verbs aside, tell whether it could serve the request. A record with calls gets no tool all
of whose words stand in the request or in the names of the called tools. A record without calls gets none of whose words any
does, for there the tool could make the gold answer wrong.
"""

import random
import re
from collections.abc import Iterable, Sequence

from autotool_training.data.overlap import words
from autotool_training.data.tools import Tool
from autotool_training.records import Record

PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
VERBS = frozenset(
    (
        "get",
        "find",
        "search",
        "check",
        "create",
        "add",
        "set",
        "make",
        "calculate",
        "update",
        "list",
        "send",
        "for",
        "by",
        "of",
        "to",
    )
)
REFUSALS = (
    "None of the tools that I have can do this.",
    "I have no tool for that.",
    "I cannot do that: no tool here is made for it.",
    "The tools at hand do not fit this request.",
)
TRIES = 20


class Distractors:
    """Draws tools from a pool, the same for the same record and seed."""

    def __init__(self, pool: Iterable[Tool], seed: int) -> None:
        self._pool = list({tool["function"]["name"]: tool for tool in pool}.values())
        self._words = {tool["function"]["name"]: _words(tool["function"]["name"]) for tool in self._pool}
        self._seed = seed

    def add(self, record: Record, number: int) -> Record:
        """The record with so many tools more (fewer, if the pool has no more that fit), all in random order."""
        draw = self._draw(record)
        tools = [*record.tools, *self._choose(record, number, draw)]
        draw.shuffle(tools)
        return record.model_copy(update={"tools": tools})

    def is_drawn(self, record: Record, share: float) -> bool:
        """Whether the record is one of this share."""
        return random.Random(f"irrelevant/{self._seed}/{record.id}").random() < share  # noqa: S311 not a secret

    def irrelevant(self, record: Record, number: int) -> Record:
        """The record with other tools in place of its own, so that the right answer is to call none; as is if none fit."""
        draw = self._draw(record)
        asked = record.model_copy(update={"calls": []})
        tools = self._choose(asked, number, draw)
        update = {"tools": tools, "calls": [], "content": draw.choice(REFUSALS), "reasoning": None, "level": None}
        return record.model_copy(update=update) if tools else record

    def _draw(self, record: Record) -> random.Random:
        return random.Random(f"{self._seed}/{record.id}")  # noqa: S311 not a secret

    def _choose(self, record: Record, number: int, draw: random.Random) -> Sequence[Tool]:
        own = {tool["function"]["name"] for tool in record.tools}
        said = {word for message in record.messages if message["role"] == "user" for word in words(message["content"])}
        said |= {word for call in record.calls for word in _words(call.name)}
        chosen: dict[str, Tool] = {}
        for tool in draw.sample(self._pool, min(len(self._pool), number * TRIES)):
            name = tool["function"]["name"]
            shared = self._words[name] & said
            could_serve = shared == self._words[name] if record.calls else bool(shared)
            if len(chosen) < number and name not in own and not could_serve:
                chosen[name] = tool
        return list(chosen.values())


def _words(name: str) -> set[str]:
    return {part.lower() for part in PART.findall(name)} - VERBS
