"""Requests written by rule for tool descriptions: values stand in them, calls are valid, the same seed gives the same."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from support.training_data import lines, load

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data.build import DataSettings, build
from autotool_training.data.catalog import SOURCES, Place
from autotool_training.data.distractors import REFUSALS, could_serve
from autotool_training.data.sources.rows import Bad
from autotool_training.data.sources.tools import parameters
from autotool_training.data.synthetic.api import Api
from autotool_training.data.synthetic.extras import extras
from autotool_training.data.synthetic.kinds import plural, words
from autotool_training.data.synthetic.paraphrases import FORMATS, RATED, _figure, _formatted, _nth, _rated, telling
from autotool_training.data.synthetic.phrases import _flag, phrase
from autotool_training.data.synthetic.requests import Request
from autotool_training.data.synthetic.values import _examples


def api(name: str, about: str, required: list[str], **properties: tuple[str, str]) -> dict[str, Any]:
    described = {key: {"type": kind, "description": text} for key, (kind, text) in properties.items()}
    return {"api_name": name, "api_description": about, "field": "Food/Baking", "parameters": described, "required": required}


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
    return load("seal_apis", lines(tmp_path / "seal_tools_apis.jsonl", *ROWS))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Records of many seeds, so that every kind of them is there."""
    path = lines(tmp_path_factory.mktemp("many") / "seal_tools_apis.jsonl", *ROWS, SHOP)
    return [one for seed in range(30) for one in load("seal_apis", path, seed=seed)]


def said(record: Record) -> str:
    return " ".join(message["content"] for message in record.messages if message["role"] == "user")


def test_every_value_stands_in_the_request(many: list[Record]) -> None:
    for record in (record for record in many if "-retold" not in record.id):
        for value in (value for call in record.calls for value in call.arguments.values()):
            for one in value if isinstance(value, list) else [value]:
                assert isinstance(one, bool) or str(one) in said(record)


def test_every_call_is_valid(many: list[Record]) -> None:
    for record in (record for record in many if record.calls):
        schemas = {tool["function"]["name"]: parameters(tool) for tool in record.tools}
        assert set(schemas) == {call.name for call in record.calls}
        for call in record.calls:
            jsonschema.validate(call.arguments, schemas[call.name])


def test_the_same_seed_gives_the_same_records(records: list[Record], tmp_path: Path) -> None:
    path = tmp_path / "seal_tools_apis.jsonl"
    assert load("seal_apis", path) == records
    others = load("seal_apis", path, seed=1)
    assert {one.messages[0]["content"] for one in others} != {one.messages[0]["content"] for one in records}
    assert not {one.id for one in others} & {one.id for one in records}


def test_there_are_requests_of_every_kind(records: list[Record]) -> None:
    names = [[call.name for call in record.calls] for record in records]
    assert ["getBreadLaws"] in names
    assert any(len(one) > 1 and len(set(one)) == 1 for one in names)
    assert any(len(set(one)) == 2 for one in names)
    assert all(record.reasoning is None for record in records)
    assert {tuple(message["role"] for message in record.messages) for record in records} == {
        ("user",),
        ("user", "assistant", "user"),
    }


def test_a_tool_may_take_a_list_of_what_are_several_calls_of_another(many: list[Record]) -> None:
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
    # The tool itself is what it was.
    assert any(
        set(parameters(record.tools[0])["required"]) == {"bread_type", "weight"} for record in many if len(record.tools) == 1
    )


def test_a_request_is_refused_where_only_others_of_its_field_are_offered(many: list[Record]) -> None:
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


def test_what_is_asked_back_for_is_told_in_the_second_turn_alone(many: list[Record]) -> None:
    back = [record for record in many if record.id.endswith("-back")]
    assert len(back) > 20
    for record in back:
        first, question, second = (message["content"] for message in record.messages)
        given = record.calls[0].arguments
        late = {name for name in given if words(name) in question}
        assert late
        assert all(str(given[name]) in second and str(given[name]) not in first for name in late)
        assert all(isinstance(value, bool) or str(value) in first for name, value in given.items() if name not in late)


def test_what_is_retold_is_needed_otherwise_than_it_is_told(many: list[Record]) -> None:
    retold = [record for record in many if record.id.endswith("-retold")]
    assert len(retold) > 50
    otherwise = 0
    for record in retold:
        required = parameters(record.tools[0])["required"]
        values = [(name, value) for call in record.calls for name, value in call.arguments.items()]
        untold = {name for name, value in values if not isinstance(value, bool) and str(value) not in said(record)}
        rates = [value for name, value in values if name in RATED]
        assert all(in_percent(record, rate) or f" {rate}" in said(record) for rate in rates)
        otherwise += bool(rates or untold)
        assert rates or (len(untold) < 2 and untold <= set(required))
    assert otherwise > 0.8 * len(retold)


def test_a_wider_tool_has_parameters_of_most_tools_whose_words_say_yes_or_no(many: list[Record]) -> None:
    wider = [record for record in many if record.id.endswith("-wider")]
    told = [(said(record), name, value) for record in wider for name, value in record.calls[0].arguments.items()]
    flags = [(text, words(name).split(" ", 1)[1], value) for text, name, value in told if isinstance(value, bool)]
    denied = re.compile(r"without|leaving out|excluding|\bno\b|\bnot\b|n't|false", re.IGNORECASE)
    assert len({value for _, _, value in flags}) == 2
    assert all(thing in text for text, thing, _ in flags)
    assert all(denied.search(text) for text, _, value in flags if not value)
    assert any("enum" in about for record in wider for about in parameters(record.tools[0])["properties"].values())


def test_what_a_wider_tool_does_not_require_may_stay_untold(many: list[Record]) -> None:
    wider = [record for record in many if record.id.endswith("-wider")]
    untold = [set(parameters(one.tools[0])["properties"]) - set(one.calls[0].arguments) for one in wider]
    assert any(untold)
    assert not all(untold)


def test_the_request_before_is_refused_only_where_no_tool_offered_could_serve_it(many: list[Record]) -> None:
    afresh = [record for record in many if record.id.endswith("-afresh")]
    assert len(afresh) > 20
    for record in afresh:
        assert [message["role"] for message in record.messages] == ["user", "assistant", "user"]
        assert record.messages[1]["content"] in REFUSALS
        first = record.model_copy(update={"calls": [], "messages": record.messages[:1]})
        assert not any(could_serve(tool, first) for tool in record.tools)
        assert record.calls
    assert not [record for record in many if "-afresh-" in record.id]


def test_extras_say_nothing_that_another_parameter_could() -> None:
    drawn = [partial(extras, draw=Random(seed)) for seed in range(60)]  # noqa: S311 not a secret
    again = [partial(extras, draw=Random(seed)) for seed in range(60)]  # noqa: S311 not a secret
    made = [draw({}) for draw in drawn]
    assert len({name for one in made for name in one}) > 30
    assert not any(draw(one) for draw, one in zip(again, made, strict=True))
    beside = [about for draw in drawn for about in draw({"time_period": {}}).values()]
    assert beside
    assert not any(about["type"] == "integer" for about in beside)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("with a {w} of {v}", "with 3 people"),
        ("given a {w} of {v}", "for 3 people"),
        ("a {w} of {v}", "3 people"),
        ("{w}: {v}", "number of people: 3"),
        ("The {w} is {v}", "The number of people is 3"),
    ],
)
def test_numbers_of_things_are_said_with_the_things(way: str, said: str) -> None:
    tool = Api(api("bookTable", "Book a table", [], number_of_people=("int", "How many come")))
    assert phrase(tool, way, "number_of_people", 3) == said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("include_crust", True, "crust"),
        ("return_crust", False, r"(without|leaving out|no|excluding) (the )?crust"),
        ("round_result", True, "and (also |please )?round result( too)?"),
        ("round_result", False, "(do not|don't) round result"),
        ("vegan", True, "vegan(: yes| set to true| = True)"),
    ],
)
def test_yes_and_no_in_words(name: str, value: bool, said: str) -> None:
    assert all(re.search(said, _flag(name, value, Random(seed))) for seed in range(20))  # noqa: S311 not a secret


def in_percent(record: Record, value: float) -> bool:
    """Whether the request tells a fraction or a percentage so."""
    told = [float(figure) for figure in re.findall(r"([\d.]+)(?:%| percent)", said(record))]
    return round(value * 100, 4) in told or value in told


@pytest.mark.parametrize(
    ("meant", "told", "value"),
    [
        (partial(_formatted, form=FORMATS["YYYY-MM-DD"]), "March 11th, 2022", "2022-03-11"),
        (partial(_formatted, form=FORMATS["MM/DD/YYYY"]), "2 December 2019", "12/02/2019"),
        (partial(_formatted, form=FORMATS["DD-MM-YYYY"]), "Sep 5, 2020", "05-09-2020"),
        (_figure, "2.5 million", 2_500_000),
        (_figure, "40k", 40_000),
        (partial(_rated, divided=True), "12.5 percent", 0.125),
        (partial(_rated, divided=True), "7%", 0.07),
        (partial(_rated, divided=False), "7%", 7),
        (partial(_rated, divided=True), "0.07", 0.07),
        (partial(_rated, divided=False), "7", 7),
        (_figure, "850", 850),
        (_figure, "450,500", 450_500),
    ],
)
def test_what_is_meant(meant: Callable[[str], Any], told: str, value: Any) -> None:
    assert meant(told) == value


@pytest.mark.parametrize(
    ("day", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (22, "22nd"), (28, "28th")]
)
def test_days_in_words(day: int, said: str) -> None:
    assert _nth(day) == said


def test_a_city_is_needed_with_its_state_or_country_as_its_description_says() -> None:
    for seed in range(40):
        place = telling({"city": {"type": "string", "description": "The city (e.g., Rome)"}}, Random(seed))  # noqa: S311
        assert place is not None
        city = place.told(Random(seed))  # noqa: S311
        assert place.meant(city).startswith(f"{city}, ")
        assert "Rome)" not in place.about["description"].replace("Rome, Italy", "")
        assert re.search(r"\w+, \w+", place.about["description"])


def test_thousands_are_needed_in_figures(tmp_path: Path) -> None:
    path = lines(tmp_path / "seal_tools_apis.jsonl", STALL)
    retold = [one for seed in range(20) for one in load("seal_apis", path, seed=seed) if one.id.endswith("-retold")]
    large = [one for one in retold if re.search(r"\dk|thousand|million", said(one))]
    assert len(large) > 5
    told = [(said(one), call.arguments["budget"]) for one in large for call in one.calls]
    assert all(f"{budget}" in text.replace(",", "") or (budget >= 1000 and budget % 100 == 0) for text, budget in told)
    plain = [one for one in retold if one not in large]
    assert plain
    assert all(f"{one.calls[0].arguments['budget']}" in said(one).replace(",", "") for one in plain)


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
def test_which_parameters_are_told_otherwise(properties: dict[str, str], made: bool) -> None:
    schemas = {name: {"type": "string", "description": about} for name, about in properties.items()}
    assert (telling(schemas, Random(0)) is not None) == made  # noqa: S311


def test_a_tool_with_a_rate_gets_no_second_one() -> None:
    assert telling({"tax_rate": {"type": "number"}, "amount": {"type": "number"}}, Random(0)) is None  # noqa: S311


def test_a_format_of_its_own_does_not_stay_in_a_description() -> None:
    about = {"type": "string", "description": "The date of the air sample of PM2.5 in MM/YY format, of any year"}
    for seed in range(9):
        found = telling({"date": about}, Random(seed))  # noqa: S311
        assert found is not None
        assert found.about["description"].startswith("The date of the air sample of PM2.5")
        assert "MM/YY " not in found.about["description"]


def test_values_are_the_examples_or_go_by_the_name(records: list[Record]) -> None:
    given = [call.arguments for record in records for call in record.calls]
    assert {one["bread_type"] for one in given if "bread_type" in one} <= {"rye bread", "spelt loaf", "baguette"}
    assert all(0.5 <= one["weight"] <= 1.25 for one in given if "weight" in one)
    assert not {"city name", "YYYY-MM-DD"} & {value for one in given for value in one.values() if isinstance(value, str)}


def test_a_tool_whose_argument_nothing_tells_gives_no_record(records: list[Record]) -> None:
    assert not [call for record in records for call in record.calls if call.name == "printPoem"]


def test_a_row_that_is_no_tool_is_told_and_the_others_go_on(records: list[Record], tmp_path: Path) -> None:
    deedless = {**BREAD, "api_description": "The bread"}
    path = lines(tmp_path / "seal_tools_apis.jsonl", *ROWS, deedless, {})
    found = list(SOURCES["seal_apis"].load(str(path), 0))
    assert found[: len(records)] == records
    assert all(isinstance(one, Bad) for one in found[len(records) :])
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


def test_a_request_without_one_of_its_values_or_with_a_call_twice_does_not_hold() -> None:
    laws, bread = Api(LAWS), Api(BREAD)
    rye = {"bread_type": "rye bread", "weight": 0.5}
    assert Request("one", "Bake 0.5 kg of rye bread.", [(bread, rye)]).holds()
    assert not Request("one", "Bake rye bread.", [(bread, rye)]).holds()
    assert not Request("one", "Bake rye bread.", [(bread, {"bread_type": "rye bread"})]).holds()
    assert not Request("several", "The laws, and the laws.", [(laws, {}), (laws, {})]).holds()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="absent"):
        list(SOURCES["seal_apis"].load(str(tmp_path / "absent.jsonl"), 0))


@pytest.mark.parametrize(
    ("about", "found"),
    [
        ("The day (e.g., January 1, 2022)", {"January 1, 2022"}),
        ("The years (e.g., Room 1, Room 2, or 2022)", {"Room 1", "Room 2", "2022"}),
        ("The spot (e.g., [1, 2])", set()),
    ],
)
def test_a_comma_within_an_example_cuts_it_in_no_two(about: str, found: set[str]) -> None:
    assert {one for one in _examples({"description": about}) if one} == found


@pytest.mark.parametrize("odd", [{}, {"field": 3}, {"parameters": ["x"]}, {"api_name": 7}, {"api_name": ""}])
def test_odd_rows_are_told_and_build_goes_on(tmp_path: Path, odd: dict[str, Any]) -> None:
    file = lines(tmp_path / "renamed.jsonl", *ROWS, odd and {**LAWS, **odd})
    told: list[str] = []
    build([Place("seal_apis", str(file))], tmp_path / "out.jsonl", DataSettings(distractors=1), told.append)
    assert sum(1 for _ in (tmp_path / "out.jsonl").open()) > 5
    assert len(told) == 1
    assert f"{file}, line 5" in told[0]
