"""Drills: tables, the values of phrases in the words of graded requests, and those of whole requests.

A graded task asks for two look-ups at most among a hundred tokens, too few for a tiny model ever to find out how a table is
read. It finds out in texts as short as a single table, needs long ones to go on from there, and then texts that ask for many
values of several steps, before it meets the one request of a task (docs/experiments/2026-11-23-tiny-model-look-ups.md).
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autotool_core.graded import LEVELS, Task, make, phrases
from autotool_core.graded.domains import DAY, DOMAINS, NAMES, WEEKDAYS, Domain

AMOUNTS = tuple(range(2, 10))
AGAIN = 6
"""Rows that follow a single table. With two a model may look nothing up after 800 steps, with six it does after 250."""
REQUESTS = 6
"""Of a text with requests."""
CALCULATIONS = frozenset({"sum", "unit"})
"""The steps of derivation that calculate."""
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


def asked_first(seed: int, index: int) -> Drill:
    """A look-up that is asked for before its list or table stands there."""
    writer = _Writer(random.Random(f"asked first/{seed}/{index}"))  # noqa: S311 not a secret
    return writer.asked_first(is_thing=index % 2 == 0)


def calculations(task: Task) -> int:
    """How many calculations an argument of the task needs, one after the other."""
    return len(CALCULATIONS.intersection(task.steps))


def requests(seed: int, index: int, *, most: int = len(CALCULATIONS)) -> Drill:
    """Requests and the values of their arguments, of any number of steps each, at most `most` of them calculations.

    In turn several behind a list and a table, and the one of a graded task, which may stand before its tables.
    """
    turn, is_task = divmod(index, 2)
    if is_task:
        return single_request(seed, turn, most=most)
    writer = _Writer(random.Random(f"requests/{seed}/{turn}"))  # noqa: S311 not a secret
    return Drill(writer.tables(), tuple(writer.requests(most)))


def single_request(seed: int, index: int, *, most: int = len(CALCULATIONS)) -> Drill:
    """The one request of a graded task, which may stand before its tables, and its values; calculations as in `requests`."""
    task = make("train", LEVELS[index % len(LEVELS)], seed, index, distractors=0)
    told = task.calls[0].arguments
    # What calculates is the amount, the one number.
    wanted = {name: value for name, value in told.items() if calculations(task) <= most or not isinstance(value, int)}
    return Drill(task.request, tuple((f"{name}:", str(value)) for name, value in wanted.items()))


class _Writer:
    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._domain: Domain = draw.choice(DOMAINS)
        self._unit = draw.choice([self._domain.amount, self._domain.large[1]])
        self._things = dict(zip(draw.sample(NAMES, 3), draw.sample(self._domain.things, 3), strict=True))
        self._amounts = dict(zip(draw.sample(NAMES, 3), draw.sample(AMOUNTS, 3), strict=True))

    def tables(self) -> str:
        return " ".join(self._draw.sample([self._thing_list(), self._amount_table()], 2))

    def asked_first(self, *, is_thing: bool) -> Drill:
        words, value = self._looked_up_thing() if is_thing else self._looked_up_amount()
        table = self._thing_list() if is_thing else self._amount_table()
        name = self._domain.thing if is_thing else self._unit
        return Drill(f"{words}. {table}", ((f"{name}:", str(value)),))

    def _thing_list(self) -> str:
        return self._phrase(phrases.THING_LIST, thing=self._domain.thing, rows=_rows(self._things))

    def _amount_table(self) -> str:
        return self._phrase(phrases.AMOUNT_TABLE, unit=self._unit, rows=_rows(self._amounts))

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

    def requests(self, most: int) -> Iterator[tuple[str, str]]:
        """Each argument of some requests, which name it or give steps to it, at most `most` of them calculations."""
        domain = self._domain
        for _ in range(REQUESTS):
            thing, amount, day = self._any_thing(), self._any_amount(most), self._any_day()
            words = self._draw.choice(domain.requests["train"]).format(thing=thing[0], amount=amount[0], day=day[0])
            yield f"{self._phrase(phrases.FRAMES, request=words)} {domain.thing}:", str(thing[1])
            yield f"{domain.amount}:", str(amount[1])
            yield f"{DAY}:", str(day[1])

    def _any_thing(self) -> _Asked:
        if self._is_drawn():
            return self._looked_up_thing()
        value = self._draw.choice(self._domain.things)
        return self._domain.named.format(value=value), value

    def _any_amount(self, most: int) -> _Asked:
        """A number or a row, with or without a sum, in the table's unit, which is the argument's or the larger one."""
        is_large = self._unit == self._domain.large[1]
        words, value = self._looked_up_amount() if self._is_drawn() else self._number()
        if self._is_drawn() and is_large < most:
            words, value = self._summed(words, value)
        return words, value * (self._domain.factor if is_large else 1)

    def _any_day(self) -> _Asked:
        return self._shifted() if self._is_drawn() else (day := self._draw.choice(WEEKDAYS), day)

    def _is_drawn(self) -> bool:
        return self._draw.random() < 0.6

    def _thing_row(self) -> _Asked:
        return self._draw.choice(list(self._things.items()))

    def _amount_row(self) -> _Asked:
        return self._draw.choice(list(self._amounts.items()))

    def _thing(self) -> _Asked:
        return _colon(self._looked_up_thing())

    def _looked_up_thing(self) -> _Asked:
        name, value = self._thing_row()
        return self._phrase(phrases.THING_FROM_LIST, thing=self._domain.thing, name=name), value

    def _amount(self) -> _Asked:
        return _colon(self._looked_up_amount())

    def _looked_up_amount(self) -> tuple[str, int]:
        name, value = self._draw.choice(list(self._amounts.items()))
        return self._phrase(phrases.AMOUNT_FROM_TABLE, unit=self._unit, name=name), value

    def _number(self) -> tuple[str, int]:
        value = self._draw.choice(AMOUNTS)
        return f"{value} {self._unit}", value

    def _sum(self) -> _Asked:
        value = self._draw.choice(AMOUNTS)
        return _colon(self._summed(f"{value} {self._domain.amount}", value))

    def _summed(self, words: str, value: int) -> tuple[str, int]:
        change = self._draw.choice([n for n in range(-8, 10) if n and value + n >= 1])
        pattern, key = (phrases.ADDED, "more") if change > 0 else (phrases.TAKEN, "less")
        return self._phrase(pattern, amount=words, **{key: abs(change)}), value + change

    def _large(self) -> _Asked:
        value = self._draw.randint(2, 18)
        return f"{value} {self._domain.large[1]} are {self._domain.amount}:", value * self._domain.factor

    def _day(self) -> _Asked:
        return _colon(self._shifted())

    def _shifted(self) -> tuple[str, str]:
        start, days = self._draw.randrange(len(WEEKDAYS)), self._draw.randint(2, 6)
        end = WEEKDAYS[(start + days) % len(WEEKDAYS)]
        return self._phrase(phrases.SHIFTED, count=days, day=WEEKDAYS[start]), end

    def _phrase(self, patterns: Mapping[str, tuple[str, ...]], **values: object) -> str:
        return self._draw.choice(patterns["train"]).format(**values)


def _rows(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _colon(asked: _Asked) -> _Asked:
    return f"{asked[0]}:", asked[1]
