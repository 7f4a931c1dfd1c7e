"""The Seal-Tools suite: items have distractors, and exactly the gold calls solve them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from autotool_bench.suites.base import Reply, ToolCall, score_gold
from autotool_bench.suites.seal_tools import DISTRACTORS, SealTools
from autotool_core.errors import AutoToolError


def api(name: str) -> dict[str, Any]:
    return {
        "api_name": name,
        "api_description": f"Does {name}.",
        "parameters": {"what": {"type": "str", "description": "What."}, "times": {"type": "int", "examples": "1, 2"}},
        "required": ["what"],
        "responses": {"status": {"type": "str"}, "id": {"type": "str"}},
    }


EASY = {
    "id": "test_out_domain-easy-0",
    "query": "Play a song.",
    "calling": [{"api": "play song", "parameters": {"what": "a song"}, "responses": ["API_call_0", "API_call_1"]}],
}
DIFFICULT = {
    "id": "test_out_domain-difficult-0",
    "query": "Find a song and play it twice.",
    "calling": [
        {"api": "find", "parameters": {"what": "a song"}, "responses": ["API_call_0", "API_call_1"]},
        {"api": "play song", "parameters": {"what": "API_call_1", "times": 2}, "responses": ["API_call_2", "API_call_3"]},
    ],
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    apis = [api(name) for name in ("play song", "find", *(f"other{number}" for number in range(20)))]
    write(tmp_path / "seal_tools_apis.jsonl", *apis)
    write(tmp_path / "seal_tools_out_domain.jsonl", EASY, DIFFICULT)
    return tmp_path


def write(path: Path, *rows: Any) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, json.dumps(arguments))


def test_an_item_has_the_gold_tools_and_distractors(directory: Path):
    (item,) = SealTools(directory).items("difficult")
    names = [tool["function"]["name"] for tool in item.tools]
    assert len(set(names)) == len(names) == 2 + DISTRACTORS
    assert {"find", "play_song"} < set(names)
    assert item.messages[-1] == {"role": "user", "content": "Find a song and play it twice."}


def test_the_tools_of_an_item_are_the_same_in_every_run(directory: Path):
    first, second = (next(SealTools(directory).items("easy")).tools for _ in range(2))
    assert first == second
    assert first != next(SealTools(directory).items("difficult")).tools


def test_a_description_becomes_a_tool(directory: Path):
    (item,) = SealTools(directory).items("easy")
    tool = next(tool["function"] for tool in item.tools if tool["function"]["name"] == "play_song")
    assert tool["description"] == "Does play song. Returns: status, id."
    assert tool["parameters"] == {
        "type": "object",
        "properties": {"what": {"type": "string", "description": "What."}, "times": {"type": "integer", "examples": ["1, 2"]}},
        "required": ["what"],
    }


@pytest.mark.parametrize(
    ("calls", "score"),
    [
        ([call("find", what="a song"), call("play_song", what="API_call_1", times=2)], 1.0),
        ([call("play_song", times=2.0, what="API_call_1"), call("find", what="a song")], 1.0),
        ([call("find", what="a song"), call("play_song", what="API_call_0", times=2)], 0.0),
        ([call("find", what="a song"), call("play_song", what="API_call_1", times="2")], 0.0),
        ([call("find", what="a song")], 0.0),
        ([call("find", what="a song"), call("find", what="a song"), call("play_song", what="API_call_1", times=2)], 0.0),
        ([call("find", what="a song"), ToolCall("play_song", "{")], 0.0),
        ([], 0.0),
    ],
    ids=["same", "any-order", "other-result", "text-for-number", "one-less", "one-twice", "bad-json", "none"],
)
def test_exactly_the_gold_calls_solve(directory: Path, calls: list[ToolCall], score: float):
    suite = SealTools(directory)
    verdict = suite.score(next(suite.items("difficult")), Reply(calls=tuple(calls)))
    assert verdict.score == score
    assert (verdict.reason is None) == (score == 1.0)


async def test_gold_solves_and_corrupted_gold_does_not(directory: Path):
    suite = SealTools(directory)
    assert [await score_gold(suite, item) for category in suite.categories for item in suite.items(category)] == [
        (1.0, 0.0)
    ] * 2


@pytest.mark.parametrize(
    "bad", [{"id": "nothing"}, EASY | {"calling": [{"api": "dance", "parameters": {}}]}], ids=["keys", "api"]
)
def test_a_row_that_cannot_be_read_is_named(directory: Path, bad: dict[str, Any]):
    write(directory / "seal_tools_out_domain.jsonl", EASY, bad)
    with pytest.raises(AutoToolError, match=r"seal_tools_out_domain\.jsonl, row 2 "):
        list(SealTools(directory).items("easy"))


def test_descriptions_are_needed(directory: Path):
    (directory / "seal_tools_apis.jsonl").unlink()
    with pytest.raises(AutoToolError, match=r"seal_tools_apis\.jsonl"):
        SealTools(directory)


@pytest.mark.skipif("AUTOTOOL_EVAL_DATA" not in os.environ, reason="AUTOTOOL_EVAL_DATA names no directory of evaluation data")
@pytest.mark.parametrize(("category", "size"), [("easy", 94), ("difficult", 560)])
async def test_gold_scores_of_the_real_rows(category: str, size: int):
    suite = SealTools(Path(os.environ["AUTOTOOL_EVAL_DATA"]))
    assert [await score_gold(suite, item) for item in suite.items(category)] == [(1.0, 0.0)] * size
