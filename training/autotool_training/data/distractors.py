"""Adds distractor tools to a record, drawn from the tools of its source, or replaces its tools with them.

The words of a tool's name, except common verbs, decide whether it could serve the request. A record with calls gets no tool
if the request and the names of the called tools contain all of its words. A record without calls gets no tool if they contain
any of its words, because such a tool could make the gold answer wrong.
"""

import random
import re
from collections.abc import Container, Iterable, Sequence
from functools import cache
from itertools import islice

from autotool_training.common.records import Record
from autotool_training.data.overlap import words
from autotool_training.data.sources.tools import Tool

NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
COMMON_VERBS = frozenset(
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
CANDIDATES_PER_TOOL = 20


class Distractors:
    """Draws tools from a pool, always the same for the same record and seed."""

    def __init__(self, pool: Iterable[Tool], seed: int) -> None:
        self._pool = list({tool["function"]["name"]: tool for tool in pool}.values())
        self._seed = seed

    def add(self, record: Record, number: int) -> Record:
        """Return the record with `number` more tools, or fewer if fewer fit, in random order."""
        rng = self.rng(record.id)
        tools = [*record.tools, *self._choose(record, number, rng)]
        rng.shuffle(tools)
        return record.model_copy(update={"tools": tools})

    def is_drawn(self, record: Record, share: float) -> bool:
        """Return whether the record belongs to the share that becomes irrelevant."""
        return random.Random(f"irrelevant/{self._seed}/{record.id}").random() < share  # noqa: S311 not a secret

    def rng(self, name: str) -> random.Random:
        """Return a random generator for this name, determined by the seed."""
        return random.Random(f"{self._seed}/{name}")  # noqa: S311 not a secret

    def make_irrelevant(self, record: Record, number: int) -> Record:
        """Return the record with other tools, so that no call is right, or the record itself if no tool fits."""
        rng = self.rng(record.id)
        asked = record.model_copy(update={"calls": []})
        tools = self._choose(asked, number, rng)
        return as_refusal(record, tools, rng) if tools else record

    def choose_for_all(
        self, records: Sequence[Record], offered: Container[str], number: int, rng: random.Random
    ) -> Sequence[Tool]:
        """Return `number` tools, or fewer if fewer fit, that could serve none of the records."""
        fitting = (
            tool
            for tool in rng.sample(self._pool, min(len(self._pool), number * CANDIDATES_PER_TOOL))
            if tool["function"]["name"] not in offered and not any(could_serve(tool, record) for record in records)
        )
        return list(islice(fitting, number))

    def _choose(self, record: Record, number: int, rng: random.Random) -> Sequence[Tool]:
        return self.choose_for_all([record], {tool["function"]["name"] for tool in record.tools}, number, rng)


def could_serve(tool: Tool, record: Record) -> bool:
    """Return whether the tool could serve the record's request, by the words of its name."""
    name = _name_words(tool["function"]["name"])
    shared = name & _request_words(record)
    return shared == name if record.calls else bool(shared)


def as_refusal(record: Record, tools: Sequence[Tool], rng: random.Random) -> Record:
    """Return the record with these tools, which cannot serve it, and a refusal as its answer."""
    update = {"tools": [*tools], "calls": [], "content": rng.choice(REFUSALS), "reasoning": None, "level": None}
    return record.model_copy(update=update)


def _request_words(record: Record) -> frozenset[str]:
    """Return the words of the request and of the called tools' names."""
    texts = tuple(message["content"] for message in record.messages if message["role"] == "user")
    return _words_of(texts, tuple(call.name for call in record.calls))


@cache
def _words_of(texts: tuple[str, ...], called: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for text in texts for word in words(text)).union(*(_name_words(name) for name in called))


@cache
def _name_words(name: str) -> frozenset[str]:
    return frozenset(part.lower() for part in NAME_PART.findall(name)) - COMMON_VERBS
