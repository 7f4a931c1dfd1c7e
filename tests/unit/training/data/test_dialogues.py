"""Tests of the sources with dialogues and of those with reasoning."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.training_data import calls, lines, load_records, roles

from autotool_core.errors import AutoToolError
from autotool_training.common.records import Record
from autotool_training.data.catalog import SOURCES
from autotool_training.data.sources.rows import RowError
from autotool_training.data.sources.tools import parameters


def test_reason_tool_use_keeps_the_reasoning_of_every_answer(tmp_path: Path) -> None:
    def message(role: str, *parts: tuple[str, str]) -> dict[str, Any]:
        return {"role": role, "content": [{"type": kind, "value": value} for kind, value in parts]}

    call = json.dumps({"name": "area", "arguments": {"r": 1.5}})
    messages = [
        message("system", ("text", "Be exact.")),
        message("user", ("text", "Areas?")),
        message("assistant", ("reasoning", "Two calls."), ("tool_call", call), ("tool_call", call)),
        message("tool", ("text", '[{"content": "7"}, {"content": "7"}]')),
        message("assistant", ("reasoning", "Say it."), ("text", "Both 7.")),
    ]
    function = {"name": "area", "description": "", "parameters": {"type": "dict", "properties": {"r": {"type": "float"}}}}
    row = {"messages": messages, "tools": json.dumps([{"type": "function", "function": {**function, "required": ["r"]}}])}
    first, second = load_records("reason_tool_use", lines(tmp_path / "r.jsonl", row))
    assert (first.reasoning, calls(first), roles(first)) == ("Two calls.", [("area", {"r": 1.5})] * 2, "su")
    assert (second.reasoning, second.content, roles(second)) == ("Say it.", "Both 7.", "suatt")
    assert parameters(first.tools[0])["required"] == ["r"]


def test_glaive_makes_a_record_of_every_answer_and_joins_turns_of_one_role(tmp_path: Path) -> None:
    turns = [
        ("human", "Hi."),
        ("human", "Tip for 50?"),
        ("function_call", '{"name": "tip", "arguments": {"bill": 50}}'),
        ("observation", '{"tip": 5}'),
        ("gpt", "5."),
    ]
    tool = {"name": "tip", "description": "", "parameters": {"type": "object", "properties": {"bill": {"type": "number"}}}}
    row = {"conversations": [{"from": who, "value": text} for who, text in turns], "tools": json.dumps([tool])}
    call, text = load_records("glaive", lines(tmp_path / "g.jsonl", row, {**row, "tools": "[]", "conversations": []}))
    assert call.messages == [{"role": "user", "content": "Hi.\nTip for 50?"}]
    assert (text.content, roles(text)) == ("5.", "uat")


def test_glaive_reads_the_system_text_think_blocks_and_calls_without_arguments(tmp_path: Path) -> None:
    turns = [
        ("human", "Time?"),
        ("gpt", "I look."),
        ("function_call", '<think>Ask.</think>{"name": "now", "arguments": null}'),
        ("observation", "12"),
        ("gpt", "<think>Say it.</think>Noon."),
    ]
    row = {"conversations": [{"from": who, "value": text} for who, text in turns], "system": "Be exact."}
    tool = {"name": "now", "parameters": {"type": "object", "properties": {}}}
    call, text = load_records("glaive", lines(tmp_path / "g.jsonl", {**row, "tools": json.dumps([tool])}))
    assert (calls(call), call.content, call.reasoning, roles(call)) == ([("now", {})], "I look.", "Ask.", "su")
    assert (text.content, text.reasoning, roles(text)) == ("Noon.", "Say it.", "suat")
    assert [record.tools for record in load_records("glaive", lines(tmp_path / "none.jsonl", row))] == [[], []]


def seal_api(name: str, **kinds: str) -> dict[str, Any]:
    described = {key: {"type": kind, "description": "d"} for key, kind in kinds.items()}
    return {
        "api_name": name,
        "api_description": f"About {name}.",
        "parameters": described,
        "required": [*kinds][:1],
        "responses": {},
    }


def test_seal_tools_reads_the_tools_in_the_folder_of_the_rows(tmp_path: Path) -> None:
    lines(tmp_path / "seal_tools_apis.jsonl", seal_api("getTax", income="float", year="int"), seal_api("getRain", town="str"))
    calling = [{"api": "getTax", "parameters": {"income": "40.7", "year": 2020}, "responses": ["API_call_0"]}] * 2
    path = lines(tmp_path / "rows.jsonl", {"id": "dev-1", "query": "Taxes?", "calling": calling})
    (record,) = load_records("seal_tools", path)
    assert (record.id, len(record.calls), len(record.tools)) == ("seal_tools/dev-1", 2, 1)
    assert parameters(record.tools[0])["required"] == ["income"]
    load_tools = SOURCES["seal_tools"].load_tools
    assert load_tools is not None
    assert [tool["function"]["name"] for tool in load_tools(str(path))] == ["getTax", "getRain"]


def test_seal_tools_skips_odd_descriptions(tmp_path: Path) -> None:
    good_one = seal_api("getRain", town="str")
    named, missing, nothing, listed, number = (
        good_one | {"api_name": "getTax"} | odd
        for odd in ({"api_name": ["x"]}, {}, {"parameters": {"town": None}}, {"parameters": ["x"]}, {"required": 7})
    )
    del missing["required"]
    lines(tmp_path / "seal_tools_apis.jsonl", named, missing, nothing, listed, number, ["getTax"], 7, good_one)
    names = ("getTax", "getRain")
    rows = [{"id": api, "query": "?", "calling": [{"api": api, "parameters": {"town": "Oslo"}}]} for api in names]
    path = lines(tmp_path / "rows.jsonl", *rows)
    bad, good = SOURCES["seal_tools"].load_records(str(path), 0)
    assert isinstance(bad, RowError)
    assert isinstance(good, Record)
    assert (bad.position, good.calls[0].name) == (f"{path}, line 1", "getRain")
    load_tools = SOURCES["seal_tools"].load_tools
    assert load_tools is not None
    assert [tool["function"]["name"] for tool in load_tools(str(path))] == ["getRain"]


def sgd_service(service: str, intent: str, city: str, party: str) -> dict[str, Any]:
    slots = [
        {"name": city, "description": "c", "is_categorical": False, "possible_values": []},
        {"name": party, "description": "p", "is_categorical": True, "possible_values": ["1", "2"]},
        {"name": f"{party}_live", "description": "l", "is_categorical": True, "possible_values": ["True", "False"]},
    ]
    optional = {party: "1", f"{party}_live": "dontcare"}
    intents = [{"name": intent, "description": "i", "required_slots": [city], "optional_slots": optional}]
    return {"service_name": service, "slots": slots, "intents": intents}


@pytest.fixture
def sgd_folder(tmp_path: Path) -> Path:
    (tmp_path / "schema.json").write_text(json.dumps([sgd_service("Eat_1", "Find", "city", "party")]))
    (tmp_path / "schema_x1.json").write_text(json.dumps([sgd_service("Eat_11", "Seek", "town", "guests")]))
    call = {"service": "Eat_1", "method": "Find", "parameters": {"city": "Ulm", "party": "2", "party_live": "dontcare"}}
    turns = [
        {"speaker": "USER", "utterance": "Food?"},
        {"speaker": "SYSTEM", "utterance": "Where?"},
        {"speaker": "USER", "utterance": "In Ulm, two of us."},
        {"speaker": "SYSTEM", "utterance": "The Ox.", "calls": [{**call, "results": [{"city": "Ulm"}] * 5}]},
    ]
    with gzip.open(tmp_path / "train.slim.jsonl.gz", "wt") as out:
        out.writelines(json.dumps({"dialogue_id": str(n), "services": ["Eat_1"], "turns": turns}) + "\n" for n in range(20))
    return tmp_path


def test_sgd_draws_one_schema_for_each_dialogue(sgd_folder: Path) -> None:
    records = load_records("sgd", sgd_folder)
    assert len(records) == 60
    plain = [one for one in records if one.tools[0]["function"]["name"] == "Find"]
    question, call, reply = plain[:3]
    assert (question.content, calls(call)) == ("Where?", [("Find", {"city": "Ulm", "party": "2"})])
    assert (reply.content, roles(reply)) == ("The Ox.", "suauat")
    assert json.loads(reply.messages[-1]["content"]) == {"found": 5, "results": [{"city": "Ulm"}] * 3}
    properties = parameters(call.tools[0])["properties"]
    assert (properties["party"]["enum"], properties["party_live"]["type"]) == ([1, 2], "boolean")
    other = next(one for one in records if one.calls and one.tools[0]["function"]["name"] == "Seek")
    assert calls(other) == [("Seek", {"town": "Ulm", "guests": "2"})]
    assert load_records("sgd", sgd_folder / "train.slim.jsonl.gz") == records
    assert load_records("sgd", sgd_folder, seed=1) != records


def test_a_schema_that_is_no_paraphrase_is_rejected(sgd_folder: Path) -> None:
    (sgd_folder / "schema_x2.json").write_text("[]")
    with pytest.raises(AutoToolError, match=r"schema_x2\.json does not paraphrase"):
        load_records("sgd", sgd_folder)


def test_graded_tasks_of_every_level() -> None:
    records = load_records("graded", "3")
    assert [record.level for record in records] == [level for level in range(1, 7) for _ in range(3)]
    assert all(record.reasoning and record.calls for record in records)
    assert load_records("graded", "3", seed=1) != records
