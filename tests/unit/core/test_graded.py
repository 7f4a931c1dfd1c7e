import re
from itertools import combinations, islice

import pytest

from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS, SPLITS, Split, generate, phrases
from autotool_core.graded.domains import DAY, DOMAINS, NAMES, WEEKDAYS


def patterns(split: Split) -> set[str]:
    shared = [value for name, value in vars(phrases).items() if name.isupper() and isinstance(value, dict)]
    return {
        pattern
        for patterns_by_split in [*shared, *(domain.requests for domain in DOMAINS)]
        for pattern in patterns_by_split[split]
    }


def test_no_pattern_is_in_two_splits() -> None:
    assert not any(patterns(one) & patterns(other) for one, other in combinations(SPLITS, 2))
    assert min(len(patterns(split)) for split in SPLITS) > 20


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_needs_one_step_more_than_the_one_before(level: int) -> None:
    for task in islice(generate("train", level), 200):
        assert len(task.steps) == len(set(task.steps)) == level - 1
        derivations = r"the (list|table) gives|\d [+-] \d|\d \w+ x \d|days after"
        assert len(re.findall(derivations, task.reasoning)) == level - 1
        assert task.reasoning.startswith(f"Plan: {', '.join(task.steps) or 'copy'}.")


def test_at_level_1_the_request_contains_every_argument() -> None:
    for task in islice(generate("test", 1), 200):
        words = re.findall(r"\w+", task.request)
        assert all(str(value) in words for value in task.calls[0].arguments.values())


@pytest.mark.parametrize("level", LEVELS[1:])
def test_the_reasoning_derives_the_arguments_of_the_call(level: int) -> None:
    for task in islice(generate("train", level), 200):
        domain = next(domain for domain in DOMAINS if domain.tool == task.calls[0].name)
        derived = {
            domain.thing: "look up thing" in task.steps,
            domain.amount: bool({"look up amount", "sum", "unit"} & set(task.steps)),
            DAY: "date" in task.steps,
        }
        for argument, is_derived in derived.items():
            source = task.reasoning if is_derived else task.request
            assert re.search(rf"\b{task.calls[0].arguments[argument]}\b", source)


def groups(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    assert match
    return match.groups()


def test_sums_in_the_reasoning_are_right() -> None:
    for task in islice(generate("train", 6), 300):
        left, sign, right, total = groups(r"(\d+) ([+-]) (\d+) = (\d+)", task.reasoning)
        assert int(left) + int(sign + right) == int(total)
        large, factor, small = groups(r"(\d+) \w+ x (\d+) = (\d+)", task.reasoning)
        assert int(large) * int(factor) == int(small)
        days, start, end = groups(r"day: (\d) days after (\w+): .*?(\w+)\.", task.reasoning)
        assert (WEEKDAYS.index(start) + int(days)) % 7 == WEEKDAYS.index(end)


def test_tasks_are_reproducible_and_distinct() -> None:
    once, again = ([*islice(generate("train", 3, seed=7), 300)] for _ in range(2))
    assert once == again
    assert len({task.request for task in once}) == 300
    assert once[0] != next(generate("train", 3, seed=8))


def test_there_are_thousands_of_surface_forms() -> None:
    values = "|".join([*NAMES, *WEEKDAYS, r"\d+", *(thing for domain in DOMAINS for thing in domain.things)])
    for split in SPLITS:
        forms = {re.sub(rf"\b({values})\b", "_", task.request) for task in islice(generate(split, 6), 4000)}
        assert len(forms) > 2000


def test_distractor_tools_are_offered_with_the_right_one() -> None:
    task = next(generate("test", 2, distractors=3))
    names = [tool["function"]["name"] for tool in task.tools]
    assert len(set(names)) == 4
    assert task.calls[0].name in names
    assert len(next(generate("test", 2, distractors=0)).tools) == 1


@pytest.mark.parametrize(("split", "level", "distractors"), [("valid", 1, 0), ("train", 0, 0), ("train", 7, 0), ("test", 1, 8)])
def test_an_unknown_split_level_or_number_of_distractors_is_refused(split: Split, level: int, distractors: int) -> None:
    with pytest.raises(AutoToolError, match="split is one of train, dev, test"):
        next(generate(split, level, distractors=distractors))
