"""Tests of template reasoning: the provenance of every value, the tools that are named, and the option of `data`."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.training_data import lines
from typer.testing import CliRunner

from autotool_training.cli import app
from autotool_training.common import records
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.build import REASONING_WRITTEN, DataSettings, build
from autotool_training.data.catalog import SourceSpec
from autotool_training.data.distractors import REFUSALS
from autotool_training.data.grounding import find_span
from autotool_training.data.quality import MARKERS
from autotool_training.data.sources.tools import Tool, tools
from autotool_training.data.template_reasoning import find_provenance, text_sources, write_reasoning


def tool(name: str, about: str = "", **properties: Any) -> Tool:
    kinds = {key: value if isinstance(value, dict) else {"type": value} for key, value in properties.items()}
    return tools([{"name": name, "description": about, "parameters": {"properties": kinds}}])[0]


RAIN = tool("getRain", "Tell the rain of a town, e.g. Ulm. Data are old.", town="string", days="integer", unit="string")
MAIL = tool("sendMail", "Send a mail.", to="string")


def record(request: str = "Rain in Ulm for 3 days, in mm?", *calls: tuple[str, dict[str, Any]], **fields: Any) -> Record:
    made: dict[str, Any] = {
        "id": "r",
        "tools": [MAIL, RAIN],
        "messages": [{"role": "user", "content": request}],
        "calls": [GoldCall(name=name, arguments=arguments) for name, arguments in calls],
        "source": "glaive",
        "licence": "Apache-2.0",
    }
    return Record(**{**made, **fields})


ULM = ("getRain", {"town": "Ulm", "days": 3, "unit": "mm"})


def test_one_call() -> None:
    assert write_reasoning(record("Rain in Ulm for 3 days, in mm?", ULM)) == (
        "sendMail does not fit. getRain: Tell the rain of a town, e.g. Ulm. It fits. town: the request says 'Ulm'. "
        "days: the request says '3 days', so 3. unit: the request says 'mm'. So getRain is called."
    )


def test_several_calls_are_counted_first() -> None:
    reasoning = write_reasoning(record("Rain in Ulm and Bonn, and mail all?", ("getRain", {"town": "Bonn"}), ("sendMail", {})))
    assert reasoning == (
        "The request needs 2 calls. sendMail: Send a mail. It fits. getRain: Tell the rain of a town, e.g. Ulm. It fits. "
        "Call 1 is getRain. town: the request says 'Bonn'. Call 2 is sendMail without arguments."
    )


def test_no_call() -> None:
    nothing = record("Sing!", tools=[MAIL, RAIN, tool("plain")], content=REFUSALS[0])
    assert write_reasoning(nothing) == (
        "sendMail: Send a mail. No. getRain: Tell the rain of a town, e.g. Ulm. No. plain. No. None fits, so nothing is called."
    )


def test_at_most_three_other_tools_are_named_in_their_order_and_descriptions_are_cut() -> None:
    others = [tool(f"other{at}") for at in range(5)]
    long = tool("now", " ".join("abcdefghijklmnop"))
    reasoning = write_reasoning(record("Time?", ("now", {}), tools=[*others[:2], long, *others[2:]]))
    assert reasoning == (
        "other0 does not fit. other1 does not fit. now: a b c d e f g h i j k l ... It fits. other2 does not fit. "
        "So now is called without arguments."
    )


@pytest.mark.parametrize(
    ("name", "value", "request_", "quoted"),
    [
        ("town", "Ulm", "In Ulm?", "'Ulm'"),
        ("town", "New York", "In new york?", "'new york', so New York"),
        ("by", "internet_speed", "By internet speed.", "'internet speed', so internet_speed"),
        ("animal", "cat", "For cats.", "'cats', so cat"),
        ("all", "a1, b2, c3", "With a1, b2, and c3.", "'a1, b2, and c3', so a1, b2, c3"),
        ("days", 5, "For 5 days.", "'5 days', so 5"),
        ("id", 81, "ID 81 using it.", "'81'"),
        ("stars", 1, "1 room in a 1 star hotel", "'1 star', so 1"),
        ("days", 5, "For five days.", "'five days', so 5"),
        ("sum", 250000, "Two hundred fifty thousand.", "'Two hundred fifty thousand', so 250000"),
        ("sum", 10000.0, "It is $10,000.", "'$10,000', so 10000.0"),
        ("sum", 2.5e6, "Some 2.5 million.", "'2.5 million', so 2500000.0"),
        ("rate", 0.011, "At 1.1%.", "'1.1%', so 0.011"),
        ("count", "5", "The 5.5 of five.", "'five', so 5"),
        ("day", "2022-11-05", "On November 5th, 2022.", "'November 5th, 2022', so 2022-11-05"),
        ("day", "2022-11-05", "On 5 Nov.", "'5 Nov', so 2022-11-05"),
        ("day", "05/11/2022", "On 2022-11-05.", "'2022-11-05', so 05/11/2022"),
        ("time", "14:30", "At 2:30 pm.", "'2:30 pm', so 14:30"),
        ("include_photos", True, "With photos!", "'photos', so true"),
        ("include_photos", False, "Without any photos!", "'Without any photos', so false"),
        ("tags", ["red", "blue"], "Blue and red.", "'red', 'Blue', so [\"red\", \"blue\"]"),
        ("sizes", [2, 3], "Two or 3.", "'Two', '3', so [2, 3]"),
        ("where", {"town": "Ulm", "rooms": 2}, "2 rooms in Ulm", '\'Ulm\', \'2 rooms\', so {"town": "Ulm", "rooms": 2}'),
        ("name", "it's", "Call it it's.", '"it\'s"'),
    ],
)
def test_values_in_the_request(name: str, value: Any, request_: str, quoted: str) -> None:
    assert find_provenance(name, value, {}, text_sources(record(request_))).clause == f"the request says {quoted}"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("town", "Ulm", "In Ulmen."),
        ("n", 5, "At 5:30 on 192.168.5.1, id a5 or 5abcde."),
        ("n", 1, "Find a one-way flight."),
        ("n", 25, "For 3 or 125."),
        ("lang", "it", "Translate it."),
        ("kind", "news", "A new one."),
        ("day", "2022-11-05", "On November 5, 2021."),
        ("time", "14:30", "At 2:30 am."),
        ("photos", True, "No photos."),
        ("photos", False, "With photos, in a cabinet."),
        ("has_wifi", True, "I have cash."),
        ("note", "", "Say nothing."),
    ],
)
def test_values_without_a_span(name: str, value: Any, text: str) -> None:
    assert find_span(value, text, name) is None


def test_all_items_of_a_list_must_come_from_one_source() -> None:
    assert (
        find_provenance("tags", ["red", "blue"], {}, text_sources(record("Red."))).clause == 'the request means ["red", "blue"]'
    )


def conversation() -> Record:
    called = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("find", "findHotel")]
    messages = [
        {"role": "system", "content": "Today is 2019-03-01."},
        {"role": "user", "content": "A hotel in Ulm?"},
        {"role": "assistant", "content": "", "tool_calls": called},
        {"role": "tool", "tool_call_id": "find", "content": '["Hotel Adler", "Hotel Krone"]'},
        {
            "role": "tool",
            "tool_call_id": "findHotel",
            "content": '{"name": "Hotel Adler", "price": 120, "stars": 4, "pool": true}',
        },
        {"role": "assistant", "content": "Hotel Adler. Shall I book from 10 am?"},
        {"role": "user", "content": "Yes."},
    ]
    return record(messages=messages)


@pytest.mark.parametrize(
    ("name", "value", "kind", "clause"),
    [
        ("town", "Ulm", "verbatim", "the request says 'Ulm'"),
        ("name", "Hotel Adler", "result", "the result of findHotel gives 'Hotel Adler'"),
        ("name", "Hotel Krone", "result", "the result of find gives 'Hotel Krone'"),
        ("price", 120, "result", "the result of findHotel gives '120'"),
        ("nights", 4, "inferred", "the request means 4"),  # the result's 4 are stars
        ("pool", True, "inferred", "the request means true"),
        ("time", "10:00", "conversation", "the conversation says '10 am', so 10:00"),
        ("day", "2019-03-01", "conversation", "the system message says '2019-03-01'"),
    ],
)
def test_values_in_the_rest_of_the_conversation(name: str, value: Any, kind: str, clause: str) -> None:
    provenance = find_provenance(name, value, {}, text_sources(conversation()))
    assert (provenance.kind, provenance.clause) == (kind, clause)


@pytest.mark.parametrize(
    ("value", "schema", "kind", "clause"),
    [
        ("C", {"enum": ["C", "F"]}, "schema", "one of the schema's C, F; the request means C"),
        (7, {"enum": list(range(9))}, "schema", "one of the schema's 0, 1, 2, 3, 4, ...; the request means 7"),
        (["b"], {"items": {"enum": ["a", "b"]}}, "schema", 'one of the schema\'s a, b; the request means ["b"]'),
        ("asc", {"description": "Order (asc, desc)"}, "schema", "the schema mentions asc, and the request means that"),
        (10, {"default": "10", "enum": [10]}, "default", "the request names none, so the tool's default, 10"),
        (None, {}, "inferred", "the request names none, so null"),
        (" ", {}, "inferred", 'the request names none, so " "'),
        ("Bern", {"enum": ["Rome"]}, "inferred", "the request means Bern"),
    ],
)
def test_values_that_the_request_does_not_contain(value: Any, schema: dict[str, Any], kind: str, clause: str) -> None:
    provenance = find_provenance("n", value, schema, text_sources(record("Go.")))
    assert (provenance.kind, provenance.clause) == (kind, clause)


@pytest.mark.parametrize("marker", MARKERS)
def test_reasoning_contains_no_marker(marker: str) -> None:
    text = f"Say {marker} now"
    arguments = {"to": text, "cased": f"say {marker} NOW", "other": f"x{marker}", "list": [marker, "now"], "choice": "a"}
    choices = {"type": "string", "enum": ["a", marker]}
    speak = tool("speak", f"Speak {marker}.", to="string", cased="string", other="string", list="array", choice=choices)
    reasoning = write_reasoning(record(text, ("speak", arguments), tools=[speak, RAIN]))
    assert marker not in reasoning
    assert reasoning == (
        "getRain does not fit. to: the request says it. cased: the request says it. other: the request means it. "
        "list: the request says it, 'now'. So speak is called."
    )


def test_the_same_record_gets_the_same_reasoning() -> None:
    one = record("Rain in Ulm for 3 days, in mm?", ULM)
    assert write_reasoning(one) == write_reasoning(Record.model_validate_json(one.model_dump_json()))


def test_reasoning_about_three_arguments_is_short() -> None:
    named = [tool(f"other{at}") for at in range(9)]
    reasoning = write_reasoning(record("Rain in Ulm for 3 days, in mm?", ULM, tools=[*named, RAIN]))
    assert 30 <= len(reasoning.split()) <= 70


def specs_to_read(folder: Path) -> list[SourceSpec]:
    """Return sources with calls without reasoning, calls with reasoning, and a dialogue whose second answer is text."""
    api = {"api_description": "Work.", "parameters": {}, "required": []}
    lines(folder / "tool.jsonl", *({"api_name": name, **api} for name in ("sow", "mow", "hoe")))
    calling = [{"api": "sow", "parameters": {}}]
    seal = lines(folder / "seal.jsonl", *({"id": str(at), "query": f"Please sow {at}", "calling": calling} for at in range(4)))
    turns = [("human", "Do it"), ("function_call", '{"name": "act", "arguments": {}}'), ("observation", "ok"), ("gpt", "Done.")]
    row = {"conversations": [{"from": who, "value": text} for who, text in turns], "tools": json.dumps([{"name": "act"}])}
    return [
        SourceSpec("seal_tools", str(seal)),
        SourceSpec("graded", "1"),
        SourceSpec("glaive", str(lines(folder / "glaive.jsonl", row))),
    ]


def run(folder: Path, **settings: Any) -> tuple[dict[str, list[Record]], dict[str, Any]]:
    given = specs_to_read(folder)
    counts = build(given, folder / "out.jsonl", DataSettings(strict=True, **settings), print)
    made = list(records.read(folder / "out.jsonl", strict=True))
    return {spec.name: [one for one in made if one.source == spec.name] for spec in given}, counts.as_dict()


def test_calls_without_reasoning_get_reasoning_and_are_counted(tmp_path: Path) -> None:
    before, plain = run(tmp_path, distractors=1)
    after, counts = run(tmp_path, distractors=1, write_reasoning=True)
    assert not any(REASONING_WRITTEN in plain[name]["notes"] for name in before)
    assert {name: counts[name]["notes"].get(REASONING_WRITTEN) for name in after} == {
        "seal_tools": 4,
        "graded": None,
        "glaive": 1,
    }
    assert after["graded"] == before["graded"]
    assert all(one.reasoning == write_reasoning(one) for one in after["seal_tools"])
    assert {one.tools[0]["function"]["name"] for one in after["seal_tools"]} > {"sow"}
    assert all("does not fit" in (one.reasoning or "") for one in after["seal_tools"])
    assert [bool(one.reasoning) for one in after["glaive"]] == [True, False]


def test_irrelevant_records_explain_why_nothing_is_called(tmp_path: Path) -> None:
    made, counts = run(tmp_path, irrelevant=1.0, write_reasoning=True)
    assert counts["seal_tools"]["notes"] == {"made irrelevant": 4, REASONING_WRITTEN: 4}
    assert all(not one.calls and one.content in REFUSALS for one in made["seal_tools"])
    assert all((one.reasoning or "").endswith(" No. None fits, so nothing is called.") for one in made["seal_tools"])


@pytest.mark.parametrize("option", [["--write-reasoning"], []])
def test_the_option_of_the_command(tmp_path: Path, option: list[str]) -> None:
    spec = specs_to_read(tmp_path)[0]
    out = tmp_path / "records.jsonl"
    done = CliRunner().invoke(app, ["data", "--source", f"{spec.name}={spec.location}", "--out", str(out), *option])
    assert done.exit_code == 0, done.output
    assert (REASONING_WRITTEN in done.output) == bool(option)
    assert [bool(one.reasoning) for one in records.read(out)] == [bool(option)] * 4
