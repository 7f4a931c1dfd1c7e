"""Free thoughts: right by execution, of known probability, and of at least 0.3 nats a token."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS, SPLITS, Split, Task, generate, make
from autotool_core.graded.domains import DAY, WEEKDAYS
from autotool_core.graded.facts import Fact, Given, LookedUp, Product, Shift, Sum
from autotool_core.modes import ResolvedMode
from autotool_training.common.examples import ExampleWriter
from autotool_training.data import free_thoughts, free_wordings
from autotool_training.data.free_thoughts import Choices, free_thought
from autotool_training.data.sources import graded_free
from autotool_training.recipe import load_recipe

RECIPES = Path(__file__).parents[4] / "training" / "recipes"
WORDINGS: Mapping[str, tuple[str, ...]] = {name: value for name, value in vars(free_wordings).items() if name.isupper()}


def executed(facts: tuple[Fact, ...]) -> dict[str, Any]:
    """Derive the arguments from the numbers and rows of the facts, without their results."""
    values: dict[str, Any] = {}
    argument = ""
    for fact in facts:
        match fact:
            case Given(argument, value):
                values[argument] = int(value.split()[0]) if value[0].isdigit() else value
            case LookedUp(argument, _, rows, name):
                (value,) = (value for row, value in rows if row == name)
                values[argument] = int(value) if value.isdigit() else value
            case Sum(left, change):
                assert left == values[argument]
                values[argument] = left + change
            case Product(left, _, factor):
                assert left == values[argument]
                values[argument] = left * factor
            case Shift(start, days):
                values[DAY] = WEEKDAYS[(WEEKDAYS.index(start) + days) % 7]
    return values


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_facts_give_the_arguments_of_the_call(split: Split, level: int) -> None:
    for task in islice(generate(split, level), 200):
        assert executed(task.facts) == task.calls[0].arguments


OPERATORS = {"+": int.__add__, "-": int.__sub__, "x": int.__mul__}


@pytest.mark.parametrize("level", [4, 5, 6])
def test_the_calculations_that_a_thought_writes_are_right(level: int) -> None:
    found = 0
    for task in islice(generate("train", level), 300):
        text = free_thought(task).text
        for left, sign, right, result in re.findall(r"(\d+) (?:[a-z]+ )?([-+x]) (\d+)(?: =| is|:| gives) (\d+)", text):
            assert OPERATORS[sign](int(left), int(right)) == int(result)
            found += 1
    assert found > 50


def test_a_thought_ends_every_argument_with_its_value() -> None:
    for task in islice(generate("train", 6), 300):
        text = free_thought(task).text
        assert all(re.search(rf"\b{value}\b", text) for value in [*task.calls[0].arguments.values(), task.calls[0].name])


def test_a_task_has_one_thought_and_tasks_of_a_level_have_many_forms() -> None:
    tasks = list(islice(generate("train", 1), 500))
    assert [free_thought(task) for task in tasks] == [free_thought(task) for task in tasks]
    assert len({free_thought(task).text for task in tasks}) == len(tasks)


class Recorded(Choices):
    """Keeps what was drawn."""

    last: tuple[object, ...] = ()

    def one(self, options: Sequence[Any]) -> Any:
        return self._kept(super().one(options))

    def order(self, items: Sequence[Any]) -> Any:
        return self._kept(super().order(items))

    def chance(self, probability: float) -> bool:
        return self._kept(super().chance(probability))

    def _kept(self, value: Any) -> Any:
        Recorded.last = (*Recorded.last, str(value))
        return value


def redrawn(task: Task, number: int) -> Task:
    """Return a task under another id, for which another thought is drawn."""
    return replace(task, id=f"{task.id}/{number}")


@pytest.mark.parametrize("level", LEVELS)
def test_different_draws_give_different_texts(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts come up again with one wording of each list. If other draws gave them, the surprisal would be too high."""
    monkeypatch.setattr(free_thoughts, "Choices", Recorded)
    for name in ("PLAN", "CHECK"):
        monkeypatch.setattr(free_thoughts, name, 1e-9)
    seen = 0
    for first in range(12):
        for name, patterns in WORDINGS.items():
            monkeypatch.setattr(free_wordings, name, patterns[first % len(patterns) :][:1])
        task = make("train", level, 0, first, distractors=0)
        drawn: dict[str, tuple[object, ...]] = {}
        for number in range(250):
            Recorded.last = ()
            text = free_thought(redrawn(task, number)).text
            seen += text in drawn
            assert drawn.setdefault(text, Recorded.last) == Recorded.last
    assert seen > 0


def test_no_two_wordings_of_a_list_are_equal() -> None:
    values = {"left": 3, "change": 4, "factor": 60, "large": "hours", "result": "7 minutes", "start": "Monday", "count": 2}
    values |= {"days": "1 Tuesday", "argument": "day", "value": "blue", "name": "Anna", "table": "list", "tool": "cut_cable"}
    for patterns in WORDINGS.values():
        written = {pattern.format(**values) for pattern in patterns}
        assert len(written) == len(patterns) >= 6


def test_surprisal_is_that_of_the_draws() -> None:
    choices = Choices(random.Random(0))  # noqa: S311 not a secret
    choices.one(range(8))
    choices.order("abc")
    assert choices.nats == pytest.approx(2.0794415 + 1.7917595)
    choices = Choices(random.Random(0))  # noqa: S311 not a secret
    drawn = [choices.chance(0.1) for _ in range(100)]
    assert choices.nats == pytest.approx(2.3025851 * sum(drawn) + 0.1053605 * (100 - sum(drawn)))


@pytest.mark.parametrize("level", LEVELS)
def test_long_answers_hold_at_least_three_tenths_of_a_nat_a_token(level: int) -> None:
    """It is their conditional entropy over all of their tokens, decision and end token included, as in the trainer's H."""
    base = load_recipe(RECIPES / "graded-tiny.toml").base.load_base(0)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    nats = tokens = 0.0
    for task in islice(generate("train", level), 150):
        nats += free_thought(task).nats
        tokens += len(writer.example(graded_free.record(task), ResolvedMode.LONG).response_ids)
    assert nats / tokens > 0.3


def test_the_number_of_tasks_of_a_level_has_to_be_a_number() -> None:
    assert len(list(graded_free.load_records("2"))) == 2 * len(LEVELS)
    with pytest.raises(AutoToolError, match="graded_free=many"):
        graded_free.load_records("many")
