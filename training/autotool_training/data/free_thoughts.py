"""Free thoughts: the derivation of a graded task written in one of very many ways, by chance.

The gold reasoning of a task is one text, so that a model that has learnt it is certain of every token and has no entropy to
lose. Here a thought is drawn: the words of a step, its opening, the order of the arguments, whether a plan and checks are
written, and whether a step is written in full, briefly, or not at all. Every draw is fixed by the task, so that a
task has one thought, and its probability is known: `Thought.nats` is the surprisal, whose mean over tasks is the conditional
entropy of thoughts.

A thought is right in any wording. What is left out has to be done in the head, at which a tiny model often errs, so that
brief thoughts cost accuracy on the tasks of many steps.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from autotool_core.graded import Task
from autotool_core.graded.facts import Fact, Given, LookedUp, Product, Shift, Sum
from autotool_training.data import free_wordings as wordings

PLAN, CHECK, FULL, LEAP = 0.5, 0.25, 0.35, 0.2
"""Probabilities: of a plan, of a check of a fact, of a fact in full, and that a value between is left out."""
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Thought:
    """One thought about a task."""

    text: str
    nats: float
    """Surprisal of its draws, in nats: -log of its probability among the thoughts about the task."""


class Choices:
    """Draws from known distributions and adds up their surprisal."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.nats = 0.0

    def one(self, options: Sequence[_Item]) -> _Item:
        """Return one of the options, each as likely."""
        self.nats += math.log(len(options))
        return options[self._draw.randrange(len(options))]

    def order(self, items: Sequence[_Item]) -> list[_Item]:
        """Return the items in one of their orders, each as likely."""
        self.nats += math.lgamma(len(items) + 1)
        return self._draw.sample(items, len(items))

    def chance(self, probability: float) -> bool:
        """Return True with the probability, which is neither 0 nor 1."""
        drawn = self._draw.random() < probability
        self.nats -= math.log(probability if drawn else 1 - probability)
        return drawn


def free_thought(task: Task) -> Thought:
    """Return the thought of a task, which is always the same for it."""
    choices = Choices(random.Random(f"thought/{task.id}"))  # noqa: S311 not a secret
    blocks = choices.order([[task.calls[0].name], *_arguments(task.facts)])
    sentences = _plan(task, choices)
    for block in blocks:
        sentences += _block(block, choices)
    sentences += [_check(fact, choices) for fact in task.facts if choices.chance(CHECK)]
    return Thought(" ".join([*sentences, _conclusion(task, choices)]), choices.nats)


def _arguments(facts: Sequence[Fact]) -> list[list[Fact]]:
    """Return the facts of each argument: sums and products go on with the amount before them."""
    blocks: list[list[Fact]] = []
    for fact in facts:
        if isinstance(fact, Sum | Product):
            blocks[-1].append(fact)
        else:
            blocks.append([fact])
    return blocks


def _plan(task: Task, choices: Choices) -> list[str]:
    if not choices.chance(PLAN):
        return []
    return [f"Plan: {', '.join(choices.order(task.steps)) or 'copy'}."]


def _block(block: Sequence[Fact | str], choices: Choices) -> list[str]:
    """Return the sentences of one argument, or of the tool, which is its name."""
    sentences: list[str] = []
    leapt = False
    for fact, is_last in zip(block, [*[False] * (len(block) - 1), True], strict=True):
        if not is_last and not isinstance(fact, Given) and choices.chance(LEAP):
            leapt = True
        else:
            sentences.append(_sentence(fact, choices, leapt=leapt))
            leapt = False
    return sentences


def _sentence(fact: Fact | str, choices: Choices, *, leapt: bool) -> str:
    """Return a fact behind one of the openings; with `leapt`, which says that its start was not written, its result alone."""
    opening = choices.one(wordings.OPENINGS)
    if isinstance(fact, str):
        return f"{opening} {choices.one(wordings.TOOL).format(tool=fact)}."
    if isinstance(fact, Given):
        return f"{opening} {_given(fact, choices)}."
    if leapt or not choices.chance(FULL):
        return f"{opening} {_brief(fact, choices)}."
    return f"{opening} {_full(fact, choices)}."


def _given(fact: Given, choices: Choices) -> str:
    return choices.one(wordings.GIVEN).format(argument=fact.argument, value=fact.value)


def _full(fact: LookedUp | Sum | Product | Shift, choices: Choices) -> str:
    match fact:
        case LookedUp():
            rows = ", ".join(f"{name} {value}" for name, value in choices.order(fact.rows))
            return f"{fact.argument}: {rows}, so {_found(fact, choices)}"
        case Sum():
            patterns = wordings.ADDED if fact.change > 0 else wordings.TAKEN
            return choices.one(patterns).format(left=fact.left, change=abs(fact.change), result=f"{fact.result} {fact.unit}")
        case Product():
            result = f"{fact.result} {fact.small}"
            return choices.one(wordings.PRODUCT).format(left=fact.left, large=fact.large, factor=fact.factor, result=result)
        case Shift():
            days = ", ".join(f"{number} {day}" for number, day in enumerate(fact.passed, 1))
            return choices.one(wordings.COUNTED).format(start=fact.start, count=fact.days, days=days)


def _brief(fact: LookedUp | Sum | Product | Shift, choices: Choices) -> str:
    """Return the result of a fact without the way to it."""
    match fact:
        case LookedUp():
            return f"{fact.argument}: {_found(fact, choices)}"
        case Sum():
            return choices.one(wordings.RESULT).format(result=f"{fact.result} {fact.unit}")
        case Product():
            return choices.one(wordings.RESULT).format(result=f"{fact.result} {fact.small}")
        case Shift():
            return choices.one(wordings.SHIFTED).format(start=fact.start, count=fact.days, result=fact.result)


def _found(fact: LookedUp, choices: Choices) -> str:
    value = f"{fact.result} {fact.unit}".strip()
    return choices.one(wordings.LOOKED_UP).format(name=fact.name, value=value, table=fact.table)


def _check(fact: Fact, choices: Choices) -> str:
    words = _given(fact, choices) if isinstance(fact, Given) else _full(fact, choices)
    return f"{choices.one(wordings.CHECKS)} {words}."


def _conclusion(task: Task, choices: Choices) -> str:
    """Return the call in words: without it a tiny model hardly learns to gather the values."""
    call = task.calls[0]
    values = choices.order([f"{name} {value}" for name, value in call.arguments.items()])
    return f"{choices.one(wordings.CONCLUSIONS)} {call.name}: {', '.join(values)}."
