"""Synthetic texts: tables, the values of phrases in the words of graded requests, and the values of whole requests.

A graded task needs at most two look-ups among a hundred tokens, too few for a tiny model to learn how a table is read. It
learns that from texts as short as a single table, then needs longer ones, and then texts with many values of several steps
each, before the single request of a task (docs/experiments/2026-11-23-tiny-model-look-ups.md).
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autotool_core.graded import LEVELS, Task, make, phrases
from autotool_core.graded.domains import DAY, DOMAINS, NAMES, WEEKDAYS, Domain

AMOUNTS = tuple(range(2, 10))
QUERIES = 6
"""Look-ups after a single table. With two a model may not have learned look-ups after 800 steps, with six it has after 250."""
REQUESTS = 6
"""Requests of a text that has several."""
CALCULATIONS = frozenset({"sum", "unit"})
"""The steps of derivation that calculate."""
_Answered = tuple[str, object]
"""A phrase and its value."""


@dataclass(frozen=True, slots=True)
class SyntheticText:
    """A text in which every value follows from the text before it."""

    tables: str
    answers: tuple[tuple[str, str], ...]
    """Pairs of a phrase, such as `what the list gives Anna:`, and its value."""


def single_table(seed: int, index: int, *, rows: int) -> SyntheticText:
    """Return a table with a number of rows, and look-ups of its rows."""
    draw = random.Random(f"table/{rows}/{seed}/{index}")  # noqa: S311 not a secret
    domain = draw.choice(DOMAINS)
    values = draw.choice([domain.things, AMOUNTS])
    table = dict(zip(draw.sample(NAMES, rows), draw.sample(values, rows), strict=True))
    queries = draw.choices(list(table.items()), k=QUERIES)
    return SyntheticText(f"{_rows(table)}.", tuple((name, str(value)) for name, value in queries))


def derivation(seed: int, index: int) -> SyntheticText:
    """Return a list and a table, and two phrases of each step of derivation among look-ups of both."""
    writer = _Writer(random.Random(f"drill/{seed}/{index}"))  # noqa: S311 not a secret
    return SyntheticText(writer.tables(), tuple(writer.answers()))


def asked_first(seed: int, index: int) -> SyntheticText:
    """Return a look-up that precedes its list or table."""
    writer = _Writer(random.Random(f"asked first/{seed}/{index}"))  # noqa: S311 not a secret
    return writer.asked_first(is_thing=index % 2 == 0)


def calculations(task: Task) -> int:
    """Return the number of calculations that an argument of the task needs, one after the other."""
    return len(CALCULATIONS.intersection(task.steps))


def requests(seed: int, index: int, *, max_calculations: int = len(CALCULATIONS)) -> SyntheticText:
    """Return requests and the values of their arguments, each of any number of steps.

    At most `max_calculations` steps of a value are calculations. In turn the text has several requests after a list and a
    table, or that of a graded task, which may precede its tables.
    """
    turn, is_task = divmod(index, 2)
    if is_task:
        return single_request(seed, turn, max_calculations=max_calculations)
    writer = _Writer(random.Random(f"requests/{seed}/{turn}"))  # noqa: S311 not a secret
    return SyntheticText(writer.tables(), tuple(writer.requests(max_calculations)))


def single_request(seed: int, index: int, *, max_calculations: int = len(CALCULATIONS)) -> SyntheticText:
    """Return the request of a graded task, which may precede its tables, and its values; calculations as in `requests`."""
    task = make("train", LEVELS[index % len(LEVELS)], seed, index, distractors=0)
    arguments = task.calls[0].arguments
    # Only the amount, which is the only number, is calculated.
    keep_amount = calculations(task) <= max_calculations
    wanted = {name: value for name, value in arguments.items() if keep_amount or not isinstance(value, int)}
    return SyntheticText(task.request, tuple((f"{name}:", str(value)) for name, value in wanted.items()))


class _Writer:
    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._domain: Domain = draw.choice(DOMAINS)
        self._unit = draw.choice([self._domain.amount, self._domain.large[1]])
        self._things = dict(zip(draw.sample(NAMES, 3), draw.sample(self._domain.things, 3), strict=True))
        self._amounts = dict(zip(draw.sample(NAMES, 3), draw.sample(AMOUNTS, 3), strict=True))

    def tables(self) -> str:
        return " ".join(self._draw.sample([self._thing_list(), self._amount_table()], 2))

    def asked_first(self, *, is_thing: bool) -> SyntheticText:
        words, value = self._looked_up_thing() if is_thing else self._looked_up_amount()
        table = self._thing_list() if is_thing else self._amount_table()
        name = self._domain.thing if is_thing else self._unit
        return SyntheticText(f"{words}. {table}", ((f"{name}:", str(value)),))

    def _thing_list(self) -> str:
        return self._phrase(phrases.THING_LIST, thing=self._domain.thing, rows=_rows(self._things))

    def _amount_table(self) -> str:
        return self._phrase(phrases.AMOUNT_TABLE, unit=self._unit, rows=_rows(self._amounts))

    def answers(self) -> Iterator[tuple[str, str]]:
        """Yield phrases of each step in random order. Rows are drawn with replacement, so that none follows by exclusion."""
        steps = (self._thing, self._amount, self._sum, self._large, self._day)
        answered = (
            [step() for step in steps for _ in range(2)]
            + [self._thing_row() for _ in range(6)]
            + [self._amount_row() for _ in range(6)]
        )
        for phrase, value in self._draw.sample(answered, len(answered)):
            yield phrase, str(value)

    def requests(self, max_calculations: int) -> Iterator[tuple[str, str]]:
        """Yield each argument of some requests, which name it or give steps to it, at most `max_calculations` calculations."""
        domain = self._domain
        for _ in range(REQUESTS):
            thing, amount, day = self._any_thing(), self._any_amount(max_calculations), self._any_day()
            words = self._draw.choice(domain.requests["train"]).format(thing=thing[0], amount=amount[0], day=day[0])
            yield f"{self._phrase(phrases.FRAMES, request=words)} {domain.thing}:", str(thing[1])
            yield f"{domain.amount}:", str(amount[1])
            yield f"{DAY}:", str(day[1])

    def _any_thing(self) -> _Answered:
        if self._is_drawn():
            return self._looked_up_thing()
        value = self._draw.choice(self._domain.things)
        return self._domain.named.format(value=value), value

    def _any_amount(self, max_calculations: int) -> _Answered:
        """Return a number or a look-up, with or without a sum, in the table's unit: the argument's or the larger one."""
        is_large = self._unit == self._domain.large[1]
        words, value = self._looked_up_amount() if self._is_drawn() else self._number()
        if self._is_drawn() and is_large < max_calculations:
            words, value = self._summed(words, value)
        return words, value * (self._domain.factor if is_large else 1)

    def _any_day(self) -> _Answered:
        return self._shifted() if self._is_drawn() else (day := self._draw.choice(WEEKDAYS), day)

    def _is_drawn(self) -> bool:
        return self._draw.random() < 0.6

    def _thing_row(self) -> _Answered:
        return self._draw.choice(list(self._things.items()))

    def _amount_row(self) -> _Answered:
        return self._draw.choice(list(self._amounts.items()))

    def _thing(self) -> _Answered:
        return _colon(self._looked_up_thing())

    def _looked_up_thing(self) -> _Answered:
        name, value = self._thing_row()
        return self._phrase(phrases.THING_FROM_LIST, thing=self._domain.thing, name=name), value

    def _amount(self) -> _Answered:
        return _colon(self._looked_up_amount())

    def _looked_up_amount(self) -> tuple[str, int]:
        name, value = self._draw.choice(list(self._amounts.items()))
        return self._phrase(phrases.AMOUNT_FROM_TABLE, unit=self._unit, name=name), value

    def _number(self) -> tuple[str, int]:
        value = self._draw.choice(AMOUNTS)
        return f"{value} {self._unit}", value

    def _sum(self) -> _Answered:
        value = self._draw.choice(AMOUNTS)
        return _colon(self._summed(f"{value} {self._domain.amount}", value))

    def _summed(self, words: str, value: int) -> tuple[str, int]:
        change = self._draw.choice([n for n in range(-8, 10) if n and value + n >= 1])
        pattern, key = (phrases.ADDED, "more") if change > 0 else (phrases.TAKEN, "less")
        return self._phrase(pattern, amount=words, **{key: abs(change)}), value + change

    def _large(self) -> _Answered:
        value = self._draw.randint(2, 18)
        return f"{value} {self._domain.large[1]} are {self._domain.amount}:", value * self._domain.factor

    def _day(self) -> _Answered:
        return _colon(self._shifted())

    def _shifted(self) -> tuple[str, str]:
        start, days = self._draw.randrange(len(WEEKDAYS)), self._draw.randint(2, 6)
        end = WEEKDAYS[(start + days) % len(WEEKDAYS)]
        return self._phrase(phrases.SHIFTED, count=days, day=WEEKDAYS[start]), end

    def _phrase(self, patterns: Mapping[str, tuple[str, ...]], **values: object) -> str:
        return self._draw.choice(patterns["train"]).format(**values)


def _rows(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _colon(answered: _Answered) -> _Answered:
    return f"{answered[0]}:", answered[1]
