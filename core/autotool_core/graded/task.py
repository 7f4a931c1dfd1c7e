"""Tool tasks of known difficulty.

At level 1 the request contains every argument of the call. Each further level needs one more step of derivation before the
call can be written: a look-up in a table or list that the request gives, a sum or difference, a change of unit, a date. A
task is fixed by (split, level, seed, index), and carries its gold calls and the gold reasoning that derives them.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.graded import phrases
from autotool_core.graded.domains import DAY, DOMAINS, NAMES, WEEKDAYS, Domain
from autotool_core.graded.facts import Fact, Given, LookedUp, Product, Shift, Sum
from autotool_core.graded.phrases import SPLITS, Split

Step = Literal["look up amount", "sum", "unit", "look up thing", "date"]
STEPS: tuple[Step, ...] = get_args(Step)
LEVELS = tuple(range(1, len(STEPS) + 2))


@dataclass(frozen=True, slots=True)
class Task:
    """One task, with its answer."""

    id: str
    level: int
    steps: tuple[Step, ...]
    """The steps of derivation that the task needs: one less than its level."""
    request: str
    """The user's message."""
    tools: tuple[dict[str, Any], ...]
    """OpenAI `function` tools, in random order: the one of the gold calls, and distractors."""
    calls: tuple[Call, ...]
    """The gold calls."""
    reasoning: str
    """The gold reasoning: a plan, which tool fits, where each argument comes from, step by step, and the call in words."""
    facts: tuple[Fact, ...]
    """The derivation in that reasoning, in its order."""


@dataclass(slots=True)
class _Draft:
    """A task while it is drawn."""

    draw: random.Random
    split: Split
    domain: Domain
    tables: list[str] = field(default_factory=list[str])
    facts: list[Fact] = field(default_factory=list[Fact])

    def phrase(self, patterns: dict[str, tuple[str, ...]], **values: object) -> str:
        return self.draw.choice(patterns[self.split]).format(**values)

    def table(
        self, patterns: dict[str, tuple[str, ...]], values: Sequence[object], **words: str
    ) -> tuple[int, str, tuple[tuple[str, str], ...]]:
        """Add a table to the request; return the index of one of its values, the name of that value, and the rows."""
        names = self.draw.sample(NAMES, len(values))
        rows = tuple((name, str(value)) for name, value in zip(names, values, strict=True))
        self.tables.append(self.phrase(patterns, rows=", ".join(f"{name} {value}" for name, value in rows), **words))
        index = self.draw.randrange(len(values))
        return index, names[index], rows


def generate(split: Split, level: int, seed: int = 0, *, distractors: int = 2) -> Iterator[Task]:
    """Yield tasks of a level without end, none of them with the same request twice.

    Raises AutoToolError if there is no such split or level, or fewer distractor tools than `distractors`.
    """
    if split not in SPLITS or level not in LEVELS or not 0 <= distractors < len(DOMAINS):
        known = (
            f"split is one of {', '.join(SPLITS)}; level is {LEVELS[0]} to {LEVELS[-1]}; distractors 0 to {len(DOMAINS) - 1}"
        )
        raise AutoToolError(f"There is no such set of graded tasks: {known}.")
    seen: set[int] = set()
    index = 0
    while True:
        task = make(split, level, seed, index, distractors=distractors)
        index += 1
        if (key := hash((task.request, task.calls[0].name))) not in seen:
            seen.add(key)
            yield task


def make(split: Split, level: int, seed: int, index: int, *, distractors: int = 2) -> Task:
    """Return the task of this split, level, seed and index."""
    draw = random.Random(f"{split}/{level}/{seed}/{index}")  # noqa: S311 not a secret
    domain, *others = draw.sample(DOMAINS, distractors + 1)
    steps = tuple(sorted(draw.sample(STEPS, level - 1), key=STEPS.index))
    draft = _Draft(draw, split, domain)
    values, words = _derive(draft, steps)
    request = draft.phrase(phrases.FRAMES, request=draw.choice(domain.requests[split]).format(**words))
    sentences = [*draft.tables, request] if draw.random() < 0.5 else [request, *draft.tables]
    choices = draw.sample([domain, *others], distractors + 1)
    verdicts = [f"{choice.tool}: {choice.description} {'Yes' if choice is domain else 'No'}." for choice in choices]
    plan = f"Plan: {', '.join(steps) or 'copy'}."
    conclusion = f"So {domain.tool}: {', '.join(f'{name} {value}' for name, value in values.items())}."
    return Task(
        f"{split}-{level}-{seed}-{index}",
        level,
        steps,
        " ".join(sentences),
        tuple(choice.schema() for choice in choices),
        (Call(domain.tool, values),),
        " ".join([plan, *verdicts, *(fact.sentence() for fact in draft.facts), conclusion]),
        tuple(draft.facts),
    )


def _derive(draft: _Draft, steps: Sequence[Step]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of the arguments, and their wordings in the request."""
    thing, thing_words = _thing(draft, "look up thing" in steps)
    amount, amount_words = _amount(draft, steps)
    day, day_words = _day(draft, "date" in steps)
    values = {draft.domain.thing: thing, draft.domain.amount: amount, DAY: day}
    return values, {"thing": thing_words, "amount": amount_words, "day": day_words}


def _thing(draft: _Draft, looked_up: bool) -> tuple[str, str]:
    domain = draft.domain
    if not looked_up:
        value = draft.draw.choice(domain.things)
        draft.facts.append(Given(domain.thing, value))
        return value, domain.named.format(value=value)
    values = draft.draw.sample(domain.things, 3)
    index, name, rows = draft.table(phrases.THING_LIST, values, thing=domain.thing)
    draft.facts.append(LookedUp(domain.thing, "list", rows, name))
    return values[index], draft.phrase(phrases.THING_FROM_LIST, thing=domain.thing, name=name)


def _amount(draft: _Draft, steps: Sequence[Step]) -> tuple[int, str]:
    domain = draft.domain
    singular, plural = domain.large if "unit" in steps else (domain.amount.removesuffix("s"), domain.amount)
    value, words = _base(draft, plural, "look up amount" in steps)
    if words is None:
        words = _count(value, singular, plural)
        draft.facts.append(Given(domain.amount, words))
    if "sum" in steps:
        value, words = _sum(draft, value, words, singular, plural)
    if "unit" in steps:
        product = Product(value, singular if value == 1 else plural, domain.factor, domain.amount)
        draft.facts.append(product)
        value = product.result
    return value, words


def _base(draft: _Draft, unit: str, looked_up: bool) -> tuple[int, str | None]:
    if not looked_up:
        return draft.draw.randint(2, 9), None
    values = draft.draw.sample(range(2, 10), 3)
    index, name, rows = draft.table(phrases.AMOUNT_TABLE, values, unit=unit)
    draft.facts.append(LookedUp(draft.domain.amount, "table", rows, name, unit))
    return values[index], draft.phrase(phrases.AMOUNT_FROM_TABLE, unit=unit, name=name)


def _sum(draft: _Draft, value: int, words: str, singular: str, plural: str) -> tuple[int, str]:
    change = draft.draw.choice([n for n in range(-8, 10) if n and value + n >= 1])
    total = value + change
    draft.facts.append(Sum(value, change, singular if total == 1 else plural))
    pattern, key = (phrases.ADDED, "more") if change > 0 else (phrases.TAKEN, "less")
    return total, draft.phrase(pattern, amount=words, **{key: str(abs(change))})


def _day(draft: _Draft, shifted: bool) -> tuple[str, str]:
    start = draft.draw.randrange(7)
    if not shifted:
        draft.facts.append(Given(DAY, WEEKDAYS[start]))
        return WEEKDAYS[start], WEEKDAYS[start]
    count = draft.draw.randint(2, 6)
    shift = Shift(WEEKDAYS[start], count)
    draft.facts.append(shift)
    return shift.result, draft.phrase(phrases.SHIFTED, count=str(count), day=WEEKDAYS[start])


def _count(value: int, singular: str, plural: str) -> str:
    return f"{value} {singular if value == 1 else plural}"
