"""Tests of the words of synthetic requests: flags, counts, plurals, and the examples of a description."""

import re
from random import Random

import pytest
from support.synthetic_apis import api

from autotool_training.data.synthetic.api import Api
from autotool_training.data.synthetic.kinds import plural
from autotool_training.data.synthetic.phrases import _flag, phrase
from autotool_training.data.synthetic.values import _examples


@pytest.mark.parametrize(
    ("phrasing", "expected"),
    [
        ("with a {w} of {v}", "with 3 people"),
        ("given a {w} of {v}", "for 3 people"),
        ("a {w} of {v}", "3 people"),
        ("{w}: {v}", "number of people: 3"),
        ("The {w} is {v}", "The number of people is 3"),
    ],
)
def test_a_count_is_phrased_with_the_counted_noun(phrasing: str, expected: str) -> None:
    tool = Api(api("bookTable", "Book a table", [], number_of_people=("int", "How many come")))
    assert phrase(tool, phrasing, "number_of_people", 3) == expected


@pytest.mark.parametrize(
    ("name", "value", "pattern"),
    [
        ("include_crust", True, "crust"),
        ("return_crust", False, r"(without|leaving out|no|excluding) (the )?crust"),
        ("round_result", True, "and (also |please )?round result( too)?"),
        ("round_result", False, "(do not|don't) round result"),
        ("vegan", True, "vegan(: yes| set to true| = True)"),
    ],
)
def test_flags_in_words(name: str, value: bool, pattern: str) -> None:
    assert all(re.search(pattern, _flag(name, value, Random(seed))) for seed in range(20))  # noqa: S311 not a secret


@pytest.mark.parametrize(
    ("noun", "several"),
    [
        ("dish", "dishes"), ("delivery address", "delivery addresses"), ("branch", "branches"), ("epoch", "epochs"),
        ("index", "indexes"), ("analysis", "analyses"), ("status", "statuses"), ("city", "cities"), ("day", "days"),
        ("robot ID", "robot IDs"), ("species", "species"), ("symptoms", "symptoms"), ("audit data", "audit data"),
        ("hours worked", "hours worked"), ("wind speed", "wind speeds"), ("skin type", "skin types"),
    ],
)  # fmt: skip
def test_plurals(noun: str, several: str) -> None:
    assert plural(noun) == several


@pytest.mark.parametrize(
    ("description", "examples"),
    [
        ("The day (e.g., January 1, 2022)", {"January 1, 2022"}),
        ("The years (e.g., Room 1, Room 2, or 2022)", {"Room 1", "Room 2", "2022"}),
        ("The spot (e.g., [1, 2])", set()),
    ],
)
def test_a_comma_within_an_example_does_not_split_it(description: str, examples: set[str]) -> None:
    assert {text for text in _examples({"description": description}) if text} == examples
