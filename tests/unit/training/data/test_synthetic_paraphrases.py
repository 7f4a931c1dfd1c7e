"""Tests of paraphrased values: the call needs another form than the request gives."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.synthetic_apis import STALL, user_text
from support.training_data import lines, load_records

from autotool_training.data.synthetic.paraphrases import (
    DATE_FORMATS,
    _format_date,
    _ordinal,
    _parse_amount,
    _parse_rate,
    draw_paraphrase,
)


@pytest.mark.parametrize(
    ("canonical_value", "surface_form", "value"),
    [
        (partial(_format_date, form=DATE_FORMATS["YYYY-MM-DD"]), "March 11th, 2022", "2022-03-11"),
        (partial(_format_date, form=DATE_FORMATS["MM/DD/YYYY"]), "2 December 2019", "12/02/2019"),
        (partial(_format_date, form=DATE_FORMATS["DD-MM-YYYY"]), "Sep 5, 2020", "05-09-2020"),
        (_parse_amount, "2.5 million", 2_500_000),
        (_parse_amount, "40k", 40_000),
        (partial(_parse_rate, is_fraction=True), "12.5 percent", 0.125),
        (partial(_parse_rate, is_fraction=True), "7%", 0.07),
        (partial(_parse_rate, is_fraction=False), "7%", 7),
        (partial(_parse_rate, is_fraction=True), "0.07", 0.07),
        (partial(_parse_rate, is_fraction=False), "7", 7),
        (_parse_amount, "850", 850),
        (_parse_amount, "450,500", 450_500),
    ],
)
def test_the_canonical_value_of_a_surface_form(canonical_value: Callable[[str], Any], surface_form: str, value: Any) -> None:
    assert canonical_value(surface_form) == value


@pytest.mark.parametrize(
    ("day", "expected"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (22, "22nd"), (28, "28th")],
)
def test_ordinals(day: int, expected: str) -> None:
    assert _ordinal(day) == expected


def test_the_call_needs_a_city_with_its_state_or_country_as_described() -> None:
    for seed in range(40):
        place = draw_paraphrase({"city": {"type": "string", "description": "The city (e.g., Rome)"}}, Random(seed))  # noqa: S311
        assert place is not None
        city = place.surface_form(Random(seed))  # noqa: S311
        assert place.canonical_value(city).startswith(f"{city}, ")
        assert "Rome)" not in place.schema["description"].replace("Rome, Italy", "")
        assert re.search(r"\w+, \w+", place.schema["description"])


def test_the_call_needs_large_amounts_in_figures(tmp_path: Path) -> None:
    path = lines(tmp_path / "seal_tools_apis.jsonl", STALL)
    paraphrased = [
        one for seed in range(20) for one in load_records("seal_apis", path, seed=seed) if one.id.endswith("-retold")
    ]
    large = [one for one in paraphrased if re.search(r"\dk|thousand|million", user_text(one))]
    assert len(large) > 5
    amounts = [(user_text(one), call.arguments["budget"]) for one in large for call in one.calls]
    assert all(f"{budget}" in text.replace(",", "") or (budget >= 1000 and budget % 100 == 0) for text, budget in amounts)
    plain = [one for one in paraphrased if one not in large]
    assert plain
    assert all(f"{one.calls[0].arguments['budget']}" in user_text(one).replace(",", "") for one in plain)


@pytest.mark.parametrize(
    ("properties", "made"),
    [
        ({"tyre_location": "The tyre (e.g., front left)"}, False),
        ({"location": "The location (e.g., Cairo)"}, True),
        ({"country_of_origin": "The country it is from"}, False),
        ({"city": "The city", "country": "Its country"}, False),
        ({"city": "The city", "mayor": "Its mayor"}, True),
        ({"date": "The day"}, True),
        ({"start_date": "The first day", "end_date": "The last day"}, False),
    ],
)
def test_which_parameters_are_paraphrased(properties: dict[str, str], made: bool) -> None:
    schemas = {name: {"type": "string", "description": schema} for name, schema in properties.items()}
    assert (draw_paraphrase(schemas, Random(0)) is not None) == made  # noqa: S311


def test_a_tool_with_a_rate_gets_no_second_rate() -> None:
    assert draw_paraphrase({"tax_rate": {"type": "number"}, "amount": {"type": "number"}}, Random(0)) is None  # noqa: S311


def test_the_format_in_a_description_is_replaced() -> None:
    schema = {"type": "string", "description": "The date of the air sample of PM2.5 in MM/YY format, of any year"}
    for seed in range(9):
        found = draw_paraphrase({"date": schema}, Random(seed))  # noqa: S311
        assert found is not None
        assert found.schema["description"].startswith("The date of the air sample of PM2.5")
        assert "MM/YY " not in found.schema["description"]
