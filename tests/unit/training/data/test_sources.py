"""Tests of the sources: rows become records, calls and results become messages, and bad rows are named."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.training_data import calls, lines, load_records, roles

from autotool_core.errors import AutoToolError
from autotool_training.common.records import GoldCall, Record
from autotool_training.data.catalog import SOURCES, SourceSpec
from autotool_training.data.sources import hermes, toolace, xlam
from autotool_training.data.sources.rows import RowError
from autotool_training.data.sources.tools import Tool, parameters, tools

XLAM_TOOL = {
    "name": "find hotel",
    "description": "Find one.",
    "parameters": {
        "town": {"description": "Where", "type": "str"},
        "stars": {"description": "At least", "type": "int, optional", "default": 3},
        "near": {"description": "Points", "type": "Tuple[float, float], optional"},
    },
}


def test_xlam_marks_optional_parameters_in_their_type(tmp_path: Path) -> None:
    answers = [{"name": "find hotel", "arguments": {"town": "Ulm"}}, {"name": "find hotel", "arguments": {"town": "Bern"}}]
    row = {"id": 7, "query": "Hotels in Ulm and Bern?", "answers": json.dumps(answers), "tools": json.dumps([XLAM_TOOL])}
    (record,) = load_records("xlam", lines(tmp_path / "x.jsonl", row))
    assert calls(record) == [("find_hotel", {"town": "Ulm"}), ("find_hotel", {"town": "Bern"})]
    schema = parameters(record.tools[0])
    assert schema["required"] == ["town"]
    assert schema["properties"]["stars"] == {"type": "integer", "description": "At least", "default": 3}
    assert schema["properties"]["near"]["items"] == {"type": "number"}
    assert record.licence == "CC-BY-4.0"


def test_an_argument_that_a_gold_call_lacks_is_optional_unless_stated_otherwise() -> None:
    flat = {"name": "f", "parameters": {"a": {"type": "str", "default": ""}, "b": {"type": "str", "default": ""}}}
    stated = {**flat, "required": ["a", "b"]}
    call = [GoldCall(name="f", arguments={"a": "x"})]
    assert [parameters(tools([one], call)[0])["required"] for one in (flat, stated)] == [["a"], ["a", "b"]]
    assert parameters(tools([flat])[0])["required"] == ["a", "b"]
    assert "default" not in parameters(tools([flat])[0])["properties"]["a"]


def test_a_row_with_half_of_a_surrogate_pair_is_bad_and_the_others_are_kept(tmp_path: Path) -> None:
    row = {"query": "A hotel in Ulm?", "tools": json.dumps([XLAM_TOOL])}
    towns = [json.dumps([{"name": "find hotel", "arguments": {"town": town}}]) for town in ("Ulm \ud83d", "Ulm 😀")]
    path = lines(tmp_path / "x.jsonl", *({**row, "answers": answers} for answers in towns))
    bad, good = xlam.load_records(str(path))
    assert isinstance(bad, RowError)
    assert (bad.position, bad.reason) == (f"{path}, line 1", "value that cannot be written, such as half of a surrogate pair")
    assert isinstance(good, Record)


TOOLACE_SYSTEM = (
    "You are an expert in composing functions. Here is a list of functions in JSON format that you can invoke:\n"
    + json.dumps(
        [
            {
                "name": "Market Trends API",
                "description": "Trends.",
                "parameters": {
                    "type": "dict",
                    "properties": {"kind": {"type": "string"}, "days": {"type": "int"}, "tags": {"type": "list"}},
                    "required": ["kind"],
                },
                "required": None,
            }
        ]
    )
    + ". \nThe current time is 2024-07-01 10:00:00.\nPut it in the format of [func1(params_name=params_value), func2(params)]"
)


def test_toolace_reads_calls_as_python_writes_them(tmp_path: Path) -> None:
    turns = [
        ("user", "What moves?"),
        (
            "assistant",
            '[Market Trends API(kind="A, (b]", days=3), Market Trends API(kind=\'it\\\'s\', tags=["x", true, null])]',
        ),
        ("tool", '[{"name": "Market Trends API", "results": {"up": 1}}, {"name": "Market Trends API", "results": {"up": 2}}]'),
        ("assistant", "Both up."),
        ("user", "And c?"),
        ("assistant", "[Market Trends API(kind='c', tags=[{'a': 1.5}])]"),
    ]
    row = {"system": TOOLACE_SYSTEM, "conversations": [{"from": who, "value": text} for who, text in turns]}
    path = tmp_path / "data.json"
    path.write_text(json.dumps([row]))
    first, reply, last = load_records("toolace", path)
    assert calls(first) == [
        ("Market_Trends_API", {"kind": "A, (b]", "days": 3}),
        ("Market_Trends_API", {"kind": "it's", "tags": ["x", True, None]}),
    ]
    assert (reply.content, reply.calls, roles(reply)) == ("Both up.", [], "suatt")
    assert (calls(last), roles(last)) == ([("Market_Trends_API", {"kind": "c", "tags": [{"a": 1.5}]})], "suattau")
    assert first.messages[0]["content"] == "The current time is 2024-07-01 10:00:00."
    assert [tool["function"]["name"] for tool in first.tools] == ["Market_Trends_API"]


@pytest.mark.parametrize("call", ["[f(a=)]", "[f(a='b]", "[f(1)]", "[f(a=__import__('os'))]"])
def test_toolace_calls_that_cannot_be_read_are_bad_rows(tmp_path: Path, call: str) -> None:
    row = {"system": "", "conversations": [{"from": "user", "value": "?"}, {"from": "assistant", "value": call}]}
    results = list(toolace.load_records(str(lines(tmp_path / "t.jsonl", row))))
    assert not any(isinstance(one, Record) and one.calls for one in results)


def hermes_row(**fields: Any) -> dict[str, Any]:
    function = {
        "name": "get_price",
        "description": "d",
        "parameters": {"type": "object", "properties": {"of": {"type": "string"}}},
    }
    tool = {"type": "function", "function": function}
    turns = [
        ("system", f"Rules with <tools></tools> tags. Here: <tools> {json.dumps([tool])} </tools>"),
        ("human", "Price of x and y?"),
        ("gpt", "Wait.\n<tool_call>\n{'arguments': {'of': 'x'}, 'name': 'get_price'}\n</tool_call>\n<tool_call>\n"
         '{"name": "get_price", "arguments": {"of": "y"}}\n</tool_call>'),
        ("tool", "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>"),
        ("gpt", "1 and 2."),
    ]  # fmt: skip
    return {
        "id": "u",
        "conversations": [{"from": who, "value": text} for who, text in turns],
        "tools": json.dumps([tool]),
        **fields,
    }


@pytest.mark.parametrize("fields", [{}, {"tools": None}])
def test_hermes_reads_calls_in_tags_and_tools_of_either_place(tmp_path: Path, fields: dict[str, Any]) -> None:
    called, reply = load_records("hermes", lines(tmp_path / "h.jsonl", hermes_row(**fields)))
    assert calls(called) == [("get_price", {"of": "x"}), ("get_price", {"of": "y"})]
    assert (called.content, roles(called)) == ("Wait.", "u")
    assert (reply.content, roles(reply)) == ("1 and 2.", "uatt")
    assert [message["content"] for message in reply.messages[2:]] == ["1", "2"]
    assert [tool["function"]["name"] for tool in reply.tools] == ["get_price"]


def test_hub_ids_go_through_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from_hub, asked = datasets.load_dataset, list[tuple[str, str | None]]()
    path = lines(tmp_path / "hub.jsonl", hermes_row())

    def load_dataset(name: str, config: str | None = None, *, split: str) -> Any:
        asked.append((name, config))
        return from_hub("json", data_files=str(path), split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    records = load_records("hermes", SourceSpec.parse("hermes").location)
    assert asked == [(hermes.HUB, config) for config in hermes.CONFIGS]
    assert [len(record.calls) for record in records] == [2, 0] * 3
    assert (SourceSpec.parse("xlam").location, SourceSpec.parse("toolace").location) == (xlam.HUB, toolace.HUB)


CONFIGURATION = "name one of its configurations or splits, as in me/set:config=CONFIG,split=SPLIT, "


@pytest.mark.parametrize(
    ("source", "name", "mend"),
    [
        ("xlam", xlam.HUB, ""),
        ("glaive=me/set", "me/set", ""),
        ("messages=me/set", "me/set", CONFIGURATION),
        ("messages=me/set:turns,split=test", "me/set", CONFIGURATION),
    ],
)
def test_a_hub_that_does_not_answer_gives_a_one_sentence_error(
    monkeypatch: pytest.MonkeyPatch, source: str, name: str, mend: str
) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    spec = SourceSpec.parse(source)
    mends = f"log in where it asks for consent, {mend}or download it and give the file's path in its place."
    with pytest.raises(AutoToolError, match=f"^{name} could not be loaded .*: {mends}$"):
        list(spec.source.load_records(spec.location, 0))


def test_a_column_is_asked_for_where_it_can_be_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", {"turns": []})
    for name, mend in (("glaive", "write a list of messages"), ("messages", "write a list of messages, or name the column")):
        (error,) = SourceSpec.parse(f"{name}={path}").source.load_records(str(path), 0)
        assert isinstance(error, RowError)
        assert error.mend.partition(":")[0] == mend


TOOLRL = {
    "instruction": (
        "You help.\n\n**Available Tools**\nIn your response, you can use the following tools:\n"
        "1. Name: Get Genres\nDescription: First line.\nSecond line.\nParameters: {}\n2. Name: Title\nDescription: t\n"
        'Parameters: {"ids": {"description": "i", "type": "string", "default": ""}, "n": {"type": "int", "default": 25}}\n\n'
        "**Steps for Each Turn**\n1. **Think:** so."
    ),
    "input": (
        "**Dialogue Records History**\n<user> Genres? </user>\n\n<think> stock </think>\n<tool_call>\n"
        '{"name": "Get Genres", "parameters": {}}\n{"name": "Title", "parameters": {"ids": "1"}}\n</tool_call>\n'
        '<obs> [{"a": 1}, {"b": 2}] </obs>\n\n<think> stock </think>\n<response> Some. </response>\n\n<user> Titles? </user>'
    ),
    "output": "<think> I quote <tool_call> here. </think>\n<tool_call>\n"
    '{"name": "Title", "parameters": {"ids": "2"}}\n</tool_call>',
}


def test_toolrl_reads_prose_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "rl.json"
    path.write_text(json.dumps([TOOLRL, {**TOOLRL, "output": "<think> No. </think>\n<response> I cannot. </response>"}]))
    call, text = load_records("toolrl", path)
    assert (roles(call), calls(call)) == ("suattau", [("Title", {"ids": "2"})])
    assert call.reasoning == "I quote <tool_call> here."
    assert call.messages[0]["content"] == "You help."
    assert call.messages[3]["content"] == '{"a": 1}'
    assert call.tools[0]["function"]["description"] == "First line.\nSecond line."
    assert parameters(call.tools[1])["required"] == ["ids"]
    assert (text.content, text.calls, text.reasoning) == ("I cannot.", [], "No.")


def test_bad_rows_are_named_and_the_others_are_kept(tmp_path: Path) -> None:
    good = {"query": "q", "answers": "[]", "tools": "[]"}
    twice = json.dumps([XLAM_TOOL, XLAM_TOOL])
    odd = json.dumps([{"name": "f", "parameters": {"a": {"type": "Callable[[int], int]"}}}])
    rows = [good, {"query": 1}, {**good, "tools": twice}, {**good, "tools": odd}, {**good, "answers": "{}"}, "text", good]
    path = lines(tmp_path / "x.jsonl", *rows)
    unreadable = "{broken\n", "9" * 5000 + "\n", "[" * 100_000 + "\n"
    path.write_text(path.read_text() + "".join(unreadable) + json.dumps(good) + "\n")
    results = list(xlam.load_records(str(path)))
    bad = [one for one in results if isinstance(one, RowError)]
    assert [one.position.rpartition(", ")[2] for one in bad] == [f"line {line}" for line in (2, 3, 4, 5, 6, 8, 9, 10)]
    assert [one.reason for one in bad] == [
        "row not of this source's shape",
        "two tools of one name",
        "tool with an unknown type",
        "not a JSON list where one should be",
        "row not of this source's shape",
        *["line is no JSON"] * 3,
    ]
    assert len(results) - len(bad) == 3


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ([("observation", "1"), ("observation", "1")], "results that match no calls"),
        ([("human", "And now?")], "calls without results"),
        ([("gpt", "Done.")], "calls without results"),
    ],
)
def test_mismatched_calls_and_results_end_a_dialogue_but_keep_its_earlier_records(
    tmp_path: Path, after: list[tuple[str, str]], reason: str
) -> None:
    turns = [("human", "a"), ("function_call", '{"name": "f", "arguments": {}}'), *after, ("gpt", "c")]
    row = {"conversations": [{"from": who, "value": text} for who, text in turns], "tools": "[]"}
    record, bad = SOURCES["glaive"].load_records(str(lines(tmp_path / "g.jsonl", row)), 0)
    assert isinstance(record, Record)
    assert isinstance(bad, RowError)
    assert (calls(record), bad.reason) == ([("f", {})], reason)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("nothing", "--source nothing: use toolace"), ("glaive", "--source glaive: add its location")],
)
def test_an_incomplete_source_is_rejected(text: str, sentence: str) -> None:
    with pytest.raises(AutoToolError, match=sentence):
        SourceSpec.parse(text)


@pytest.mark.parametrize("name", ["glaive", "seal_tools", "sgd", "graded"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(AutoToolError, match=r"absent|graded="):
        list(SOURCES[name].load_records(str(tmp_path / "absent" / "rows.jsonl"), 0))


def test_a_file_without_a_json_list_is_named(tmp_path: Path) -> None:
    for text in ("{", "{}"):
        (tmp_path / "rows.json").write_text(text)
        with pytest.raises(AutoToolError, match=r"rows\.json"):
            list(SOURCES["glaive"].load_records(str(tmp_path / "rows.json"), 0))


def test_an_invalid_schema_makes_a_bad_row() -> None:
    broken: Tool = {"name": "f", "parameters": {"properties": {"a": {"type": "string", "enum": "x, y"}}}}
    with pytest.raises(ValueError, match="invalid JSON schema"):
        tools([broken])
