"""Tests of synthetic requests: they contain their values, their calls are valid, and a seed always gives the same ones."""

import re
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from support.synthetic_apis import BREAD, LAWS, ROWS, SHOP, user_text
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
from autotool_training.data.synthetic.kinds import name_in_words
from autotool_training.data.synthetic.paraphrases import (
    RATE_NAMES,
)
from autotool_training.data.synthetic.requests import Request


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return load_records("seal_apis", lines(tmp_path / "seal_tools_apis.jsonl", *ROWS))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Records of many seeds, which contain every kind of request."""
    path = lines(tmp_path_factory.mktemp("many") / "seal_tools_apis.jsonl", *ROWS, SHOP)
    return [one for seed in range(30) for one in load_records("seal_apis", path, seed=seed)]


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


def in_percent(record: Record, value: float) -> bool:
    """Whether the request gives the value, a fraction or a percentage, in percent."""
    percentages = [float(figure) for figure in re.findall(r"([\d.]+)(?:%| percent)", user_text(record))]
    return round(value * 100, 4) in percentages or value in percentages


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


@pytest.mark.parametrize("odd", [{}, {"field": 3}, {"parameters": ["x"]}, {"api_name": 7}, {"api_name": ""}])
def test_odd_rows_are_reported_and_build_continues(tmp_path: Path, odd: dict[str, Any]) -> None:
    file = lines(tmp_path / "renamed.jsonl", *ROWS, odd and {**LAWS, **odd})
    messages: list[str] = []
    build([SourceSpec("seal_apis", str(file))], tmp_path / "out.jsonl", DataSettings(distractors=1), messages.append)
    assert sum(1 for _ in (tmp_path / "out.jsonl").open()) > 5
    assert len(messages) == 1
    assert f"{file}, line 5" in messages[0]
