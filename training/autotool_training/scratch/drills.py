"""Drills: tables, and the values of phrases in the words of graded requests, one step of derivation each.

A graded task asks for two look-ups at most among a hundred tokens, too few for a tiny model ever to find out how a table is
read. It finds out in texts as short as a single table, and then needs a long one to go on from there (docs/log.md).
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autotool_core.graded import phrases
from autotool_core.graded.domains import DOMAINS, NAMES, WEEKDAYS, Domain

AMOUNTS = tuple(range(2, 10))
AGAIN = 6
"""Rows that follow a single table. With two a model may look nothing up after 800 steps, with six it does after 250."""
_Asked = tuple[str, object]


@dataclass(frozen=True, slots=True)
class Drill:
    """A text in which every value can be told from what stands before it."""

    tables: str
    answers: tuple[tuple[str, str], ...]
    """A phrase, as `what the list gives Anna:`, and its value."""


def single_table(seed: int, index: int, *, rows: int) -> Drill:
    """A table of so many rows, and rows of it again."""
    draw = random.Random(f"table/{rows}/{seed}/{index}")  # noqa: S311 not a secret
    domain = draw.choice(DOMAINS)
    values = draw.choice([domain.things, AMOUNTS])
    table = dict(zip(draw.sample(NAMES, rows), draw.sample(values, rows), strict=True))
    again = draw.choices(list(table.items()), k=AGAIN)
    return Drill(f"{_rows(table)}.", tuple((name, str(value)) for name, value in again))


def drill(seed: int, index: int) -> Drill:
    """A list and a table, and two phrases of each step of derivation among rows of both."""
    writer = _Writer(random.Random(f"drill/{seed}/{index}"))  # noqa: S311 not a secret
    return Drill(writer.tables(), tuple(writer.answers()))


class _Writer:
    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._domain: Domain = draw.choice(DOMAINS)
        self._unit = draw.choice([self._domain.amount, self._domain.large[1]])
        self._things = dict(zip(draw.sample(NAMES, 3), draw.sample(self._domain.things, 3), strict=True))
        self._amounts = dict(zip(draw.sample(NAMES, 3), draw.sample(AMOUNTS, 3), strict=True))

    def tables(self) -> str:
        things = self._phrase(phrases.THING_LIST, thing=self._domain.thing, rows=_rows(self._things))
        amounts = self._phrase(phrases.AMOUNT_TABLE, unit=self._unit, rows=_rows(self._amounts))
        return " ".join(self._draw.sample([things, amounts], 2))

    def answers(self) -> Iterator[tuple[str, str]]:
        """Some of each step, in random order. Rows are drawn anew each time: what is left over tells nothing."""
        steps = (self._thing, self._amount, self._sum, self._large, self._day)
        asked = (
            [step() for step in steps for _ in range(2)]
            + [self._thing_row() for _ in range(6)]
            + [self._amount_row() for _ in range(6)]
        )
        for phrase, value in self._draw.sample(asked, len(asked)):
            yield phrase, str(value)

    def _thing_row(self) -> _Asked:
        return self._draw.choice(list(self._things.items()))

    def _amount_row(self) -> _Asked:
        return self._draw.choice(list(self._amounts.items()))

    def _thing(self) -> _Asked:
        name, value = self._thing_row()
        return f"{self._phrase(phrases.THING_FROM_LIST, thing=self._domain.thing, name=name)}:", value

    def _amount(self) -> _Asked:
        name, value = self._amount_row()
        return f"{self._phrase(phrases.AMOUNT_FROM_TABLE, unit=self._unit, name=name)}:", value

    def _sum(self) -> _Asked:
        value, change = self._draw.choice(AMOUNTS), self._draw.choice([n for n in range(-8, 10) if n])
        if value + change < 1:
            change = -change
        pattern, key = (phrases.ADDED, "more") if change > 0 else (phrases.TAKEN, "less")
        amount = f"{value} {self._domain.amount}"
        return f"{self._phrase(pattern, amount=amount, **{key: abs(change)})}:", value + change

    def _large(self) -> _Asked:
        value = self._draw.randint(2, 18)
        return f"{value} {self._domain.large[1]} are {self._domain.amount}:", value * self._domain.factor

    def _day(self) -> _Asked:
        start, days = self._draw.randrange(len(WEEKDAYS)), self._draw.randint(2, 6)
        end = WEEKDAYS[(start + days) % len(WEEKDAYS)]
        return f"{self._phrase(phrases.SHIFTED, count=days, day=WEEKDAYS[start])}:", end

    def _phrase(self, patterns: Mapping[str, tuple[str, ...]], **values: object) -> str:
        return self._draw.choice(patterns["train"]).format(**values)


def _rows(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
