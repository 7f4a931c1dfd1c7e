"""Tests of synthetic requests: they contain their values, their calls are valid, and a seed always gives the same ones."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from support.training_data import lines, load_records

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data.build import DataSettings, build
from autotool_training.data.catalog import SOURCES, SourceSpec
from autotool_training.data.distractors import REFUSALS, could_serve
from autotool_training.data.sources.rows import RowError
from autotool_training.data.sources.tools import parameters
from autotool_training.data.synthetic.api import Api
from autotool_training.data.synthetic.extras import draw_extra_params
from autotool_training.data.synthetic.kinds import name_in_words, plural
from autotool_training.data.synthetic.paraphrases import (
    DATE_FORMATS,
    RATE_NAMES,
    _format_date,
    _ordinal,
    _parse_amount,
    _parse_rate,
    draw_paraphrase,
)
from autotool_training.data.synthetic.phrases import _flag, phrase
from autotool_training.data.synthetic.requests import Request
from autotool_training.data.synthetic.values import _examples


def api(name: str, schema: str, required: list[str], **properties: tuple[str, str]) -> dict[str, Any]:
    described = {key: {"type": type_, "description": text} for key, (type_, text) in properties.items()}
    return {"api_name": name, "api_description": schema, "field": "Food/Baking", "parameters": described, "required": required}


BREAD = api(
    "getBread",
    "Retrieve the baking time of a specific bread",
    ["bread_type", "weight"],
    bread_type=("str", "The bread (e.g., rye bread, 'spelt loaf', or baguette)"),
    weight=("float", "The weight in kilograms (e.g., 0.5, 1.25)"),
    include_crust=("bool", "Whether to include the crust (true/false)"),
)
OVEN = api(
    "bookOven",
    "Book an oven of a bakery",
    ["oven_id", "date"],
    oven_id=("str", "The ID of the oven"),
    date=("str", "The day (e.g., YYYY-MM-DD)"),
    city=("str", "The city (e.g., city name)"),
    hours=("int", "The hours (e.g., 2, 3, 8)"),
)
LAWS = api("getBreadLaws", "Retrieve the laws about bread", [])
POEM = api("printPoem", "Print a poem", ["verses"], verses=("str", "What the poem says"))
STALL = api("rentStall", "Rent a stall", ["budget"], budget=("int", "The budget"), town=("str", "The town"))
SHOP = api("findShop", "Find a shop", ["shop_name"], shop_name=("str", "The shop (e.g., Crumbs, 'Golden Loaf')"))
ROWS = (BREAD, OVEN, LAWS, POEM)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return load_records("seal_apis", lines(tmp_path / "seal_tools_apis.jsonl", *ROWS))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Records of many seeds, which contain every kind of request."""
    path = lines(tmp_path_factory.mktemp("many") / "seal_tools_apis.jsonl", *ROWS, SHOP)
    return [one for seed in range(30) for one in load_records("seal_apis", path, seed=seed)]


def user_text(record: Record) -> str:
    return " ".join(message["content"] for message in record.messages if message["role"] == "user")


def test_the_request_contains_every_value(many: list[Record]) -> None:
    for record in (record for record in many if "-retold" not in record.id):
        for value in (value for call in record.calls for value in call.arguments.values()):
            for one in value if isinstance(value, list) else [value]:
                assert isinstance(one, bool) or str(one) in user_text(record)


def test_every_call_is_valid(many: list[Record]) -> None:
    for record in (record for record in many if record.calls):
        schemas = {tool["function"]["name"]: parameters(tool) for tool in record.tools}
        assert set(schemas) == {call.name for call in record.calls}
        for call in record.calls:
            jsonschema.validate(call.arguments, schemas[call.name])


def test_the_same_seed_gives_the_same_records(records: list[Record], tmp_path: Path) -> None:
    path = tmp_path / "seal_tools_apis.jsonl"
    assert load_records("seal_apis", path) == records
    others = load_records("seal_apis", path, seed=1)
    assert {one.messages[0]["content"] for one in others} != {one.messages[0]["content"] for one in records}
    assert not {one.id for one in others} & {one.id for one in records}


def test_every_kind_of_request_occurs(records: list[Record]) -> None:
    names = [[call.name for call in record.calls] for record in records]
    assert ["getBreadLaws"] in names
    assert any(len(one) > 1 and len(set(one)) == 1 for one in names)
    assert any(len(set(one)) == 2 for one in names)
    assert all(record.reasoning is None for record in records)
    assert {tuple(message["role"] for message in record.messages) for record in records} == {
        ("user",),
        ("user", "assistant", "user"),
    }


def test_a_tool_with_a_list_parameter_takes_the_values_of_several_calls(many: list[Record]) -> None:
    listed = [record for record in many if record.id.endswith("-list")]
    sizes = {len(value) for record in listed for value in record.calls[0].arguments.values() if isinstance(value, list)}
    assert sizes >= {1, 2, 3}
    for record in listed:
        (offered,) = record.tools
        properties = parameters(offered)["properties"]
        (name,) = [name for name, value in record.calls[0].arguments.items() if isinstance(value, list)]
        assert properties[name]["type"] == "array"
        assert name in ("bread_types", "weights", "oven_IDs", "oven_ids", "dates", "cities", "hours", "shop_names")
        assert "description" not in properties[name]["items"]
    assert any(set(parameters(record.tools[0])["required"]) == {"bread_types", "weight"} for record in listed)
    # The original tool is unchanged.
    assert any(
        set(parameters(record.tools[0])["required"]) == {"bread_type", "weight"} for record in many if len(record.tools) == 1
    )


def test_a_request_is_refused_if_only_other_tools_of_its_domain_are_offered(many: list[Record]) -> None:
    refusals = [record for record in many if record.id.endswith("-refused")]
    assert len(refusals) > 3
    for record in refusals:
        assert record.content in REFUSALS
        assert not record.calls
    offered = {(record.id.split("/")[2], tool["function"]["name"]) for record in refusals for tool in record.tools}
    row = {"1": "getBread", "2": "bookOven", "3": "getBreadLaws", "5": "findShop"}
    assert {(row[number], name) for number, name in offered} <= {
        ("getBread", "bookOven"), ("getBread", "findShop"), ("bookOven", "getBread"), ("bookOven", "getBreadLaws"),
        ("bookOven", "findShop"), ("getBreadLaws", "bookOven"), ("getBreadLaws", "findShop"), ("findShop", "getBread"),
        ("findShop", "bookOven"), ("findShop", "getBreadLaws"),
    }  # fmt: skip


def test_only_the_second_turn_gives_the_values_that_the_clarification_asks_for(many: list[Record]) -> None:
    clarified = [record for record in many if record.id.endswith("-back")]
    assert len(clarified) > 20
    for record in clarified:
        first, question, second = (message["content"] for message in record.messages)
        given = record.calls[0].arguments
        late = {name for name in given if name_in_words(name) in question}
        assert late
        assert all(str(given[name]) in second and str(given[name]) not in first for name in late)
        assert all(isinstance(value, bool) or str(value) in first for name, value in given.items() if name not in late)


def test_the_call_needs_another_form_than_the_paraphrased_request_gives(many: list[Record]) -> None:
    paraphrased = [record for record in many if record.id.endswith("-retold")]
    assert len(paraphrased) > 50
    rewritten = 0
    for record in paraphrased:
        required = parameters(record.tools[0])["required"]
        values = [(name, value) for call in record.calls for name, value in call.arguments.items()]
        absent = {name for name, value in values if not isinstance(value, bool) and str(value) not in user_text(record)}
        rates = [value for name, value in values if name in RATE_NAMES]
        assert all(in_percent(record, rate) or f" {rate}" in user_text(record) for rate in rates)
        rewritten += bool(rates or absent)
        assert rates or (len(absent) < 2 and absent <= set(required))
    assert rewritten > 0.8 * len(paraphrased)


def test_the_request_states_the_extra_flags_of_a_tool(many: list[Record]) -> None:
    extended = [record for record in many if record.id.endswith("-wider")]
    arguments = [(user_text(record), name, value) for record in extended for name, value in record.calls[0].arguments.items()]
    flags = [(text, name_in_words(name).split(" ", 1)[1], value) for text, name, value in arguments if isinstance(value, bool)]
    denied = re.compile(r"without|leaving out|excluding|\bno\b|\bnot\b|n't|false", re.IGNORECASE)
    assert len({value for _, _, value in flags}) == 2
    assert all(thing in text for text, thing, _ in flags)
    assert all(denied.search(text) for text, _, value in flags if not value)
    assert any("enum" in schema for record in extended for schema in parameters(record.tools[0])["properties"].values())


def test_an_optional_extra_parameter_may_be_left_out(many: list[Record]) -> None:
    extended = [record for record in many if record.id.endswith("-wider")]
    absent = [set(parameters(one.tools[0])["properties"]) - set(one.calls[0].arguments) for one in extended]
    assert any(absent)
    assert not all(absent)


def test_the_earlier_request_is_refused_only_if_no_offered_tool_could_serve_it(many: list[Record]) -> None:
    after_refusal = [record for record in many if record.id.endswith("-afresh")]
    assert len(after_refusal) > 20
    for record in after_refusal:
        assert [message["role"] for message in record.messages] == ["user", "assistant", "user"]
        assert record.messages[1]["content"] in REFUSALS
        first = record.model_copy(update={"calls": [], "messages": record.messages[:1]})
        assert not any(could_serve(tool, first) for tool in record.tools)
        assert record.calls
    assert not [record for record in many if "-afresh-" in record.id]


def test_extra_parameters_do_not_clash_with_the_tools_own() -> None:
    drawn = [partial(draw_extra_params, rng=Random(seed)) for seed in range(60)]  # noqa: S311 not a secret
    again = [partial(draw_extra_params, rng=Random(seed)) for seed in range(60)]  # noqa: S311 not a secret
    made = [draw({}) for draw in drawn]
    assert len({name for one in made for name in one}) > 30
    assert not any(draw(one) for draw, one in zip(again, made, strict=True))
    near_a_period = [schema for draw in drawn for schema in draw({"time_period": {}}).values()]
    assert near_a_period
    assert not any(schema["type"] == "integer" for schema in near_a_period)


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


def in_percent(record: Record, value: float) -> bool:
    """Whether the request gives the value, a fraction or a percentage, in percent."""
    percentages = [float(figure) for figure in re.findall(r"([\d.]+)(?:%| percent)", user_text(record))]
    return round(value * 100, 4) in percentages or value in percentages


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


def test_values_come_from_the_examples_or_the_name(records: list[Record]) -> None:
    given = [call.arguments for record in records for call in record.calls]
    assert {one["bread_type"] for one in given if "bread_type" in one} <= {"rye bread", "spelt loaf", "baguette"}
    assert all(0.5 <= one["weight"] <= 1.25 for one in given if "weight" in one)
    assert not {"city name", "YYYY-MM-DD"} & {value for one in given for value in one.values() if isinstance(value, str)}


def test_a_tool_without_plausible_values_gives_no_record(records: list[Record]) -> None:
    assert not [call for record in records for call in record.calls if call.name == "printPoem"]


def test_a_row_that_is_no_tool_is_reported_and_the_others_are_kept(records: list[Record], tmp_path: Path) -> None:
    without_action = {**BREAD, "api_description": "The bread"}
    path = lines(tmp_path / "seal_tools_apis.jsonl", *ROWS, without_action, {})
    found = list(SOURCES["seal_apis"].load_records(str(path), 0))
    assert found[: len(records)] == records
    assert all(isinstance(one, RowError) for one in found[len(records) :])
    assert len(found) == len(records) + 2


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


def test_a_request_that_lacks_a_value_or_repeats_a_call_is_inconsistent() -> None:
    laws, bread = Api(LAWS), Api(BREAD)
    rye = {"bread_type": "rye bread", "weight": 0.5}
    assert Request("one", "Bake 0.5 kg of rye bread.", [(bread, rye)]).is_consistent()
    assert not Request("one", "Bake rye bread.", [(bread, rye)]).is_consistent()
    assert not Request("one", "Bake rye bread.", [(bread, {"bread_type": "rye bread"})]).is_consistent()
    assert not Request("several", "The laws, and the laws.", [(laws, {}), (laws, {})]).is_consistent()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="absent"):
        list(SOURCES["seal_apis"].load_records(str(tmp_path / "absent.jsonl"), 0))


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


@pytest.mark.parametrize("odd", [{}, {"field": 3}, {"parameters": ["x"]}, {"api_name": 7}, {"api_name": ""}])
def test_odd_rows_are_reported_and_build_continues(tmp_path: Path, odd: dict[str, Any]) -> None:
    file = lines(tmp_path / "renamed.jsonl", *ROWS, odd and {**LAWS, **odd})
    messages: list[str] = []
    build([SourceSpec("seal_apis", str(file))], tmp_path / "out.jsonl", DataSettings(distractors=1), messages.append)
    assert sum(1 for _ in (tmp_path / "out.jsonl").open()) > 5
    assert len(messages) == 1
    assert f"{file}, line 5" in messages[0]
