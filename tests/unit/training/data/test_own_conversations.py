"""Tests of what happens to odd conversations of one's own: no answer may be lost, changed or learnt wrongly without a word."""

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.training_data import calls, lines, roles

from autotool_core.errors import AutoToolError
from autotool_training.common import records
from autotool_training.common.records import Record
from autotool_training.data.build import DataSettings, build
from autotool_training.data.catalog import SOURCES, SourceSpec
from autotool_training.data.sources.messages import MAX_SOURCES
from autotool_training.data.sources.rows import RowError

RAIN = {
    "type": "function",
    "function": {
        "name": "rain",
        "description": "Rain of a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}
WIND = {"type": "function", "function": {**RAIN["function"], "name": "wind"}}
USER = {"role": "user", "content": "Rain in Ulm and Bonn?"}
HELLO = {"role": "assistant", "content": "Hello."}


def call(name: str, town: Any = "Ulm", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": json.dumps({"town": town})}, **fields}


def answer(*made: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(made), **fields}


def result(text: str, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "content": text, **fields}


def row(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), "tools": [RAIN, WIND], **fields}


def load(location: object) -> tuple[list[Record], list[str]]:
    """Return the records of a file, and the sentences on its faults."""
    loaded = list(SOURCES["messages"].load_records(str(location), 0))
    faults = [one.sentence() for one in loaded if isinstance(one, RowError)]
    return [one for one in loaded if isinstance(one, Record)], faults


def load_row(folder: Path, *messages: Any, **fields: Any) -> tuple[list[Record], list[str]]:
    return load(lines(folder / "d.jsonl", row(*messages, **fields)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"at": {"$ref": "#/$defs/At"}}, "$defs": {"At": {"type": "integer"}}},
        {"type": "object", "properties": {"at": {"description": "d", "type": "integer"}}, "additionalProperties": False},
        {"description": "d", "type": "object", "properties": {"at": {"anyOf": [{"type": "integer"}], "default": None}}},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "anyOf": [{"properties": {"at": {"type": "integer"}}}]},
    ],
)
def test_a_tool_of_openais_form_is_learnt_as_it_is_served(schema: dict[str, Any], tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}
    made = {"function": {"name": "f", "arguments": '{"at": 7}'}}
    (record,), faults = load_row(tmp_path, USER, answer(made), tools=[tool])
    assert (json.dumps(record.tools), faults) == (json.dumps([tool]), [])
    spec = SourceSpec.parse(f"messages={tmp_path / 'd.jsonl'}")
    counts = build([spec], tmp_path / "out.jsonl", DataSettings(write_reasoning=True), pytest.fail)
    assert counts.as_dict()["total"]["kept"] == {"call": 1}


def test_a_tool_whose_description_is_null_is_reasoned_about_by_its_name(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {**RAIN["function"], "description": None}}
    spec = SourceSpec.parse(f"messages={lines(tmp_path / 'd.jsonl', row(USER, answer(call('rain')), tools=[tool]))}")
    build([spec], tmp_path / "out.jsonl", DataSettings(write_reasoning=True), pytest.fail)
    (made,) = records.read(tmp_path / "out.jsonl", strict=True)
    assert (made.reasoning or "").startswith("rain. It fits. town: ")
    assert made.tools == [tool]


def test_an_argument_that_no_schema_allows_is_a_fault(tmp_path: Path) -> None:
    tool = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    _, faults = load_row(tmp_path, USER, answer({"function": {"name": "f", "arguments": '{"at": 7}'}}), tools=[tool])
    assert ["argument that the tool does not have" in fault for fault in faults] == [True]


def test_one_unfit_answer_does_not_cost_those_after_it(tmp_path: Path) -> None:
    made, faults = load_row(tmp_path, USER, answer(call("sun")), result("Yes."), HELLO, USER, answer(call("rain")))
    assert [roles(record) for record in made] == ["uat", "uatau"]
    assert faults[0].endswith(
        "messages[1]: call of a tool that is not offered; add the tool to the tools, or mend the name, or give it weight 0"
    )
    assert len(faults) == 1


def test_two_weights_in_one_answer_are_a_fault(tmp_path: Path) -> None:
    untrained = {**HELLO, "weight": 0}
    made, faults = load_row(tmp_path, USER, HELLO, USER, untrained, answer(call("rain")))
    assert len(made) == 1
    assert "messages[4].weight: not that of the message before it; give the same to both messages" in faults[0]


def test_a_greeting_before_the_first_request_is_history(tmp_path: Path) -> None:
    (record,), faults = load_row(tmp_path, HELLO, USER, answer(call("rain")))
    assert (roles(record), faults) == ("au", [])


def test_the_answers_after_a_broken_message_are_counted_with_it(tmp_path: Path) -> None:
    file = lines(tmp_path / "d.jsonl", row(USER, HELLO, {"role": "robot", "content": ""}, USER, HELLO, USER, HELLO))
    said: list[str] = []
    counts = build([SourceSpec.parse(f"messages={file}")], tmp_path / "out.jsonl", DataSettings(), said.append)
    assert counts.as_dict()["d"]["dropped"] == {"unknown role": 2}
    assert len(said) == 1


def test_text_and_the_calls_after_it_are_one_answer(tmp_path: Path) -> None:
    (record,), faults = load_row(tmp_path, USER, {**HELLO, "reasoning_content": "Hm."}, answer(call("rain")))
    assert (record.content, calls(record), record.reasoning) == ("Hello.", [("rain", {"town": "Ulm"})], "Hm.")
    assert (roles(record), faults) == ("u", [])


def test_an_answer_before_a_broken_message_is_kept(tmp_path: Path) -> None:
    (record,), faults = load_row(tmp_path, USER, HELLO, "broken")
    assert (record.content, len(faults)) == ("Hello.", 1)


@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_no_content_is_no_empty_text(role: str, tmp_path: Path) -> None:
    called = [USER, answer(call("rain"))] if role == "tool" else []
    _, faults = load_row(tmp_path, *called, {"role": role, "content": None}, USER, HELLO)
    assert f"messages[{len(called)}].content: missing; write text" in faults[0]


@pytest.mark.parametrize(
    "results",
    [
        [result("b", tool_call_id="2"), result("a", tool_call_id=1)],
        [result("b", name="wind"), result("a", name="rain")],
        [result("a"), result("b")],
    ],
)
def test_results_belong_to_calls_by_id_or_name_or_order(results: list[dict[str, Any]], tmp_path: Path) -> None:
    made, faults = load_row(tmp_path, USER, answer(call("rain", id=1), call("wind", id="2")), *results, HELLO)
    assert ([message["content"] for message in made[-1].messages[2:]], faults) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([result("a", tool_call_id="1"), result("b", tool_call_id="7")], "messages[3]: results that match no calls; write"),
        ([result("a", tool_call_id="1"), result("b", tool_call_id="1")], "messages[3]: results that match no calls; write"),
        ([result('["a", "b"]')], "messages[2]: results that match no calls; write one result for each call"),
        ([result('["a", "b"]', tool_call_id="1")], "messages[2]: results that match no calls; write one result for each call"),
    ],
)
def test_results_of_no_call_are_a_fault(results: list[dict[str, Any]], sentence: str, tmp_path: Path) -> None:
    _, faults = load_row(tmp_path, USER, answer(call("rain", id="1"), call("wind", id="2")), *results, HELLO)
    assert sentence in faults[0]


def test_one_result_of_sharegpt_is_that_of_all_calls(tmp_path: Path) -> None:
    called = json.dumps([{"name": name, "arguments": {"town": "Ulm"}} for name in ("rain", "wind")])
    turns = [("human", "Ulm?"), ("function_call", called), ("observation", "[1, 2]"), ("gpt", "1 and 2.")]
    shared = {"conversations": [{"from": who, "value": text} for who, text in turns], "tools": [RAIN, WIND]}
    made, faults = load(lines(tmp_path / "d.jsonl", shared))
    assert ([message["content"] for message in made[-1].messages[2:]], faults) == (["1", "2"], [])


@pytest.mark.parametrize("messages", [[], [USER], [USER, {**HELLO, "weight": 0}], [HELLO]])
def test_a_conversation_without_an_answer_to_learn_is_named(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    made, faults = load_row(tmp_path, *messages)
    assert (made, len(faults)) == ([], 1)
    assert "messages: no answer to learn; write what the assistant answers" in faults[0]


def test_a_named_column_of_tools_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    file = lines(tmp_path / "d.jsonl", row(USER, HELLO), row(USER, HELLO, functions=None))
    made, faults = load(f"{file}:messages,functions")
    assert (len(made), len(faults)) == (1, 1)
    assert "line 1: functions: missing; name the column of the tools" in faults[0]


def test_fields_that_the_hub_adds_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = {"town": {"type": "string", "enum": None}, "at": None}
    schema = {"type": "object", "properties": properties, "required": ["town"], "items": None}
    tool = {"type": "function", "function": {"name": "rain", "parameters": schema, "strict": None}}
    made = {"id": "1", "function": {"name": "rain", "arguments": {"town": "Ulm", "at": None}}}
    held = [{"messages": [USER, answer(made)], "tools": [tool], "extra": None}]
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config, split: held)
    (record,), faults = load("me/set")
    assert (calls(record), faults) == ([("rain", {"town": "Ulm"})], [])
    assert record.tools[0]["function"]["parameters"]["properties"] == {"town": {"type": "string"}}


TEXT = json.dumps(row(USER, HELLO))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.jsonl", f"\ufeff{TEXT}\n\n".encode()),
        ("d.json", f"[{TEXT}]".encode()),
        ("d.json.gz", gzip.compress(f"[{TEXT}]".encode())),
        ("d.jsonl.gz", gzip.compress(TEXT.encode())),
    ],
    # Packed bytes hold the time, and are other ones in each process that runs tests.
    ids=["byte order mark", "list", "packed list", "packed lines"],
)
def test_files_are_read_with_a_byte_order_mark_blank_lines_and_packed(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    made, faults = load(tmp_path / name)
    assert (len(made), faults) == (1, [])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("d.jsonl", b'{"a": "\xff"}', "is no UTF-8 text"),
        ("d.parquet", b"PAR1\x15\x04\xff\xfe", "is no UTF-8 text"),
        ("d.jsonl.gz", TEXT.encode(), "cannot be read"),
        ("d.jsonl.gz", gzip.compress(TEXT.encode() * 9)[:40], "cannot be read"),
        ("d.jsonl", f"[{TEXT}]".encode(), r"holds one list of rows: name it \.json"),
        ("d.jsonl", f"[\n{TEXT}\n]".encode(), r"holds one list of rows: name it \.json"),
    ],
    ids=["other bytes", "parquet", "not packed", "cut", "list", "list in lines"],
)
def test_a_file_of_another_kind_is_one_sentence(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AutoToolError, match=sentence):
        load(tmp_path / name)


def test_many_stated_sources_are_not_counted_apart_and_the_maximum_of_the_file_holds(tmp_path: Path) -> None:
    count = MAX_SOURCES + 5
    rows = [row({"role": "user", "content": f"Ask {number}"}, HELLO, source=f"ticket-{number}") for number in range(count)]
    spec = SourceSpec.parse(f"messages={lines(tmp_path / 'd.jsonl', *rows)}")
    everything = build([spec], tmp_path / "out.jsonl", DataSettings(), pytest.fail).as_dict()
    assert (len(everything), everything["d"]["records"]) == (MAX_SOURCES + 1, 6)
    few = build([spec], tmp_path / "out.jsonl", DataSettings(limits={"d": 2}), pytest.fail).as_dict()
    assert few["total"]["kept"] == {"text": 2}
