"""The API-Bank suite: rows become messages and tools, and are scored as ToolRL scores them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from autotool_bench.suites.api_bank import ApiBank
from autotool_bench.suites.base import Item, Reply, ToolCall, score_gold
from autotool_core.errors import AutoToolError

SYSTEM = """You help with tools.

**Available Tools**
In your response, you can use the following tools:
{tools}

**Steps for Each Turn**
1. **Think:** as you like.
"""
BOOK = """1. Name: BookTable
Description: Books a table: any size.
Parameters: {'guests': {'type': 'int', 'description': 'Count.'}, 'dishes': {'type': 'list(str)', 'description': "Ann's wish."}}
2. Name: Rate
Description: Rates a meal.
Parameters: {'stars': {'type': 'float', 'description': 'Out of 5.'}, 'open': {'type': 'bool', 'description': 'For all?'}}"""
SHORT = "1. Rate: Rates a meal.\nParameters: {'stars': {'type': 'float', 'description': 'Out of 5.'}}"
DIALOGUE = """**Dialogue Records History**
<user>A table for 4.</user>
<response>When?</response>
<response>And where?</response>

<user> Now. </user>
<response>I book it.</response>
<tool_call>
{"name": "BookTable", "parameters": {"guests": "4"}}
</tool_call>
<obs> {'ok': True} </obs>
<response>Done.</response>

<user>Rate it 5 stars.</user>

<user> Please only make one tool call.</user>
"""
ANSWER = {"name": "Rate", "parameters": {"stars": "5"}}


def row(**changes: Any) -> dict[str, Any]:
    return {"system": SYSTEM.format(tools=BOOK), "user": DIALOGUE, "answer": [ANSWER], "other": {}} | changes


def suite(directory: Path, *rows: Any) -> ApiBank:
    (directory / "api_bank_level1.json").write_text(json.dumps(rows), encoding="utf-8")
    return ApiBank(directory, ["level-1"])


def item(directory: Path, **changes: Any) -> Item:
    return next(suite(directory, row(**changes)).items("level-1"))


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, json.dumps(arguments))


def test_the_dialogue_becomes_messages(tmp_path: Path):
    messages = item(tmp_path).messages
    booked = messages[4]["tool_calls"][0]
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert [message["content"] for message in messages] == [
        "You help with tools.",
        "A table for 4.",
        "When?\nAnd where?",
        "Now.",
        "I book it.",
        "{'ok': True}",
        "Done.",
        "Rate it 5 stars.\nPlease only make one tool call.",
    ]
    assert booked["function"] == {"name": "BookTable", "arguments": '{"guests": "4"}'}
    assert messages[5]["tool_call_id"] == booked["id"]


def test_the_tool_list_becomes_json_schema(tmp_path: Path):
    book, rate = (tool["function"] for tool in item(tmp_path).tools)
    assert book["name"] == "BookTable"
    assert book["description"] == "Books a table: any size."
    assert book["parameters"] == {
        "type": "object",
        "properties": {
            "guests": {"type": "integer", "description": "Count."},
            "dishes": {"type": "array", "items": {"type": "string"}, "description": "Ann's wish."},
        },
    }
    assert [rate["parameters"]["properties"][name]["type"] for name in ("stars", "open")] == ["number", "boolean"]


def test_level_3_names_its_tools_in_one_line(tmp_path: Path):
    (tool,) = item(tmp_path, system=SYSTEM.format(tools=SHORT)).tools
    assert (tool["function"]["name"], tool["function"]["description"]) == ("Rate", "Rates a meal.")


def test_ids_name_level_and_row(tmp_path: Path):
    assert [item.id for item in suite(tmp_path, row(), row()).items("level-1")] == ["level-1/0", "level-1/1"]


def test_the_file_name_of_toolrl_is_accepted(tmp_path: Path):
    (tmp_path / "level-2-api_processed.json").write_text(json.dumps([row()]), encoding="utf-8")
    assert len(list(ApiBank(tmp_path).items("level-2"))) == 1


@pytest.mark.parametrize("answer", [ANSWER, [ANSWER]], ids=["object", "list"])
@pytest.mark.parametrize(
    ("calls", "score"),
    [
        ([call("Rate", stars="5")], 1.0),
        ([call("Rate", stars="4"), call("BookTable"), call("Rate", stars="5")], 1.0),
        ([ToolCall("Rate", '{"stars": '), call("Rate", stars="5")], 1.0),
        ([call("Rate", stars=5)], 0.0),
        ([call("Rate", stars="5 ")], 0.0),
        ([call("Rate", stars="5", open=True)], 0.0),
        ([call("Rate")], 0.0),
        ([call("BookTable", stars="5")], 0.0),
        ([], 0.0),
    ],
    ids=["same", "one-of-many", "bad-json-passed-over", "number", "space", "more", "less", "other-tool", "none"],
)
def test_one_call_must_be_exactly_the_gold_one(tmp_path: Path, answer: Any, calls: list[ToolCall], score: float):
    loaded = suite(tmp_path, row(answer=answer))
    verdict = loaded.score(next(loaded.items("level-1")), Reply(calls=tuple(calls)))
    assert verdict.score == score
    assert (verdict.reason is None) == (score == 1.0)


@pytest.mark.parametrize("parameters", [{"stars": "5"}, {}], ids=["arguments", "no-arguments"])
async def test_gold_solves_and_corrupted_gold_does_not(tmp_path: Path, parameters: dict[str, str]):
    loaded = suite(tmp_path, row(answer={"name": "Rate", "parameters": parameters}))
    assert await score_gold(loaded, next(loaded.items("level-1"))) == (1.0, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "You help."},
        {"system": SYSTEM.format(tools="1. Rate, the best of tools")},
        {"system": SYSTEM.format(tools=SHORT.replace("float", "star"))},
        {"user": "A table for 4."},
        {"user": "**Dialogue Records History**\n<obs>1</obs>"},
        {"answer": []},
    ],
    ids=["no-list", "no-tool", "unknown-type", "no-tags", "result-without-call", "no-answer"],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, changes: dict[str, Any]):
    with pytest.raises(AutoToolError, match=r"api_bank_level1\.json, row 2 "):
        list(suite(tmp_path, row(), row(**changes)).items("level-1"))


def test_a_missing_file_and_an_unknown_category_are_named(tmp_path: Path):
    with pytest.raises(AutoToolError, match=r"api_bank_level3\.json"):
        next(ApiBank(tmp_path).items("level-3"))
    with pytest.raises(AutoToolError, match="level-4"):
        ApiBank(tmp_path, ["level-4"])


@pytest.mark.skipif("AUTOTOOL_EVAL_DATA" not in os.environ, reason="AUTOTOOL_EVAL_DATA names no directory of evaluation data")
@pytest.mark.parametrize(("category", "size"), [("level-1", 399), ("level-2", 67), ("level-3", 131)])
async def test_gold_scores_of_the_real_rows(category: str, size: int):
    loaded = ApiBank(Path(os.environ["AUTOTOOL_EVAL_DATA"]))
    scores = [await score_gold(loaded, item) for item in loaded.items(category)]
    assert scores == [(1.0, 0.0)] * size
