"""The ACEBench suite: its rules on hand-made right and wrong answers, its prompts and its conversations."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from autotool_bench.suites.acebench.normal import matches
from autotool_bench.suites.acebench.prompt import dialogue
from autotool_bench.suites.acebench.suite import CATEGORIES, AceBench
from autotool_bench.suites.base import Item, Message, Reply, Tool, ToolCall, Verdict, score_gold
from autotool_core.errors import AutoToolError

TRIP: dict[str, Any] = {
    "name": "plan_trip",
    "description": "Plans a trip.",
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "days": {"type": "integer"},
            "guests": {"type": "list", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
            "hotel": {"type": "object", "properties": {"stars": {"type": "integer"}}},
        },
        "required": ["city"],
    },
}
LAMP: dict[str, Any] = {
    "name": "home.lamp",
    "description": "Switches a lamp.",
    "arguments": {"type": "object", "properties": {"on": {"type": "boolean"}, "level": {"type": "float", "required": True}}},
    "results": {"type": "object"},
    "tags": ["home"],
}
PING: dict[str, Any] = {"name": "ping", "description": "Says hello.", "parameters": {"type": "object", "properties": {}}}
FUNCTIONS = [TRIP, LAMP, PING]
ATOM = "normal_atom_bool"


def write(directory: Path, category: str, *rows: tuple[str, Any], question: str = "user: Plan it.\n", **more: Any) -> AceBench:
    (directory / "possible_answer").mkdir(exist_ok=True)
    questions = [{"id": name, "question": question, "function": FUNCTIONS, "time": "It is noon.", **more} for name, _ in rows]
    truths = [{"id": name, "ground_truth": truth} for name, truth in rows]
    for path, lines in ((f"data_{category}.json", questions), (f"possible_answer/data_{category}.json", truths)):
        (directory / path).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return AceBench(directory, [category])


def call(name: str, arguments: Mapping[str, Any]) -> ToolCall:
    return ToolCall(name, json.dumps(arguments))


def judge(directory: Path, truth: Any, *calls: tuple[str, Mapping[str, Any]]) -> Verdict:
    suite = write(directory, ATOM, (f"{ATOM}_0", truth))
    return suite.score(next(suite.items(ATOM)), Reply(calls=tuple(call(name, arguments) for name, arguments in calls)))


def refuse(directory: Path, category: str, truth: Any, text: str | None) -> Verdict:
    suite = write(directory, category, (f"{category}_0", truth))
    return suite.score(next(suite.items(category)), Reply(content=text))


GOLD = {"plan_trip": {"city": "New York", "days": 3, "hotel": {"stars": 4}}}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"city": "New York", "days": 3, "hotel": {"stars": 4}}, None),
        ({"city": "the city of new-york", "days": 3, "hotel": {"stars": 4}}, None),
        ({"city": "New York"}, None),
        ({"city": "New York", "days": 99}, None),
        ({"city": "York", "days": 3}, "another city"),
        ({"city": "New York", "days": "3"}, "another days"),
        ({"city": "New York", "hotel": {"stars": 5}}, "another hotel"),
        ({"days": 3}, "lacks city"),
        ({"city": "New York", "guests": []}, "not expected"),
        ({"city": "New York", "colour": "red"}, "not expected"),
        ({}, "needs other arguments"),
    ],
)
def test_arguments_are_judged_one_by_one(tmp_path: Path, arguments: dict[str, Any], reason: str | None):
    verdict = judge(tmp_path, GOLD, ("plan_trip", arguments))
    assert verdict.score == float(reason is None)
    assert (verdict.reason or "").endswith(reason or "")


@pytest.mark.parametrize(
    ("value", "gold", "declared", "same"),
    [
        ("O'Hare, 5.B", 'o"hare 5_b', "string", True),
        ("", "x", "string", False),
        (7, "x", "string", False),
        ("anything", ["x"], "string", True),
        (["x"], ["x"], "string", True),
        (True, False, "boolean", True),
        ("true", False, "boolean", True),
        ("yes", True, "boolean", False),
        (1, True, "boolean", True),
        (5, 6, "integer", True),
        (5.0, 5, "integer", True),
        (5.5, 5, "integer", False),
        (1.5, 2.5, "number", True),
        (1.5, 2, "number", False),
        (2, 2.5, "float", True),
        (["A b", 2], ["a-B", 2.0], "array", True),
        (["b", "a"], ["a", "b"], "array", False),
        ([], [], "array", True),
        ("a", ["a"], "array", False),
        ([{"n": "Ann Lee"}], [{"n": "ann"}], "list", True),
        ([{"n": "Ann"}, {"n": "Bo"}], [{"n": "Ann"}], "list", False),
        ([{"n": "Ann"}], [{"n": "Ann", "m": 1}], "objectArray", False),
        (["Ann"], [{"n": "Ann"}], "array", False),
        ({"n": 50}, {"n": 5}, "object", True),
        ({"n": 5}, {"n": 50}, "dict", False),
        ({"n": "true", "m": {"k": ["a b"]}}, {"m": {"k": ["a b"]}, "n": True}, "object", True),
        ({"n": ["A b"]}, {"n": ["a b"]}, "object", False),
        ({"n": 1, "m": 2}, {"n": 1}, "object", False),
        ("red", "blue", "enum", False),
        ("red", "Red", None, True),
    ],
)
def test_values_are_compared_as_published(value: Any, gold: Any, declared: Any, same: bool):
    assert matches(value, gold, declared) is same


PARALLEL = {"plan_trip_1": {"city": "Rome"}, "plan_trip_2": {"city": "Oslo"}, "home.lamp": {"on": True}}


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([("home_lamp", {"on": True}), ("plan_trip", {"city": "Oslo"}), ("plan_trip", {"city": "Rome"})], None),
        ([("plan_trip", {"city": "Rome"}), ("plan_trip", {"city": "Oslo"})], "2 calls where 3 are expected"),
        ([("plan_trip", {"city": "Rome"}), ("home_lamp", {"on": True}), ("home_lamp", {"on": True})], "other tools"),
        ([("plan_trip", {"city": "Rome"}), ("plan_trip", {"city": "Rome"}), ("home_lamp", {"on": True})], "another city"),
    ],
    ids=["any-order", "one-less", "other-tools", "one-unmet"],
)
def test_every_expected_call_needs_a_matching_call(tmp_path: Path, calls: Sequence[tuple[str, Any]], reason: str | None):
    verdict = judge(tmp_path, PARALLEL, *calls)
    assert verdict.score == float(reason is None)
    assert (reason or "") in (verdict.reason or "")


def test_one_of_several_possible_answers_is_enough(tmp_path: Path):
    truths = [{"plan_trip": {"city": "Rome"}}, {"home.lamp": {"on": True}}]
    assert judge(tmp_path, truths, ("home_lamp", {"on": False})).score == 1.0
    assert judge(tmp_path, truths, ("plan_trip", {"city": "Oslo"})).score == 0.0


def test_an_empty_call_is_right_if_an_empty_call_is_expected(tmp_path: Path):
    assert judge(tmp_path, {"ping": {}}, ("ping", {})).score == 1.0
    assert judge(tmp_path, {"ping": {}}, ("ping", {"loud": True})).score == 0.0


def test_an_argument_that_the_tool_does_not_have_is_wrong_even_if_expected(tmp_path: Path):
    call = ("plan_trip", {"city": "Rome", "colour": "red"})
    assert judge(tmp_path, dict([call]), call).reason == "plan_trip has an argument that is not expected"


def test_invalid_json_arguments_are_wrong(tmp_path: Path):
    suite = write(tmp_path, ATOM, (f"{ATOM}_0", {"ping": {}}))
    assert suite.score(next(suite.items(ATOM)), Reply(calls=(ToolCall("ping", "{"),))).score == 0.0


LACKING = {"plan_trip": ["city", "days"]}
FAULTY = {"city": ["N3w Y0rk"], "guests": ["-1", "x"]}


@pytest.mark.parametrize(
    ("category", "truth", "text", "score"),
    [
        ("special_incomplete", LACKING, "Missing necessary parameters (city, days) for the api (plan_trip)", 1.0),
        ("special_incomplete", LACKING, "Missing necessary parameters for plan_trip: days and city.", 1.0),
        ("special_incomplete", LACKING, "Missing necessary parameters (city) for the api (plan_trip)", 0.0),
        ("special_incomplete", LACKING, "Missing necessary parameters (city, days)", 0.0),
        ("special_incomplete", LACKING, "missing necessary parameters (city, days) for the api (plan_trip)", 0.0),
        ("special_incomplete", {"home.lamp": ["on"]}, "Missing necessary parameters (on) for the api (home_lamp)", 1.0),
        ("special_error_param", FAULTY, "There is incorrect value (N3w Y0rk, -1, x).", 1.0),
        ("special_error_param", FAULTY, "There is incorrect value (N3w Y0rk, x).", 0.0),
        ("special_error_param", FAULTY, "The values N3w Y0rk, -1 and x are wrong.", 0.0),
        ("special_irrelevant", "", "Sorry: due to the limitations of the function, no.", 1.0),
        ("special_irrelevant", "", "Sorry, I cannot solve this problem.", 0.0),
        ("special_irrelevant", "", None, 0.0),
    ],
)
def test_the_text_must_contain_the_phrase_and_the_details(
    tmp_path: Path, category: str, truth: Any, text: str | None, score: float
):
    assert refuse(tmp_path, category, truth, text).score == score


TRUTHS: dict[str, Any] = {"special_incomplete": LACKING, "special_error_param": FAULTY, "special_irrelevant": "cannot"}


@pytest.mark.parametrize("category", CATEGORIES)
async def test_gold_solves_and_corrupted_gold_does_not(tmp_path: Path, category: str):
    truths = [TRUTHS[category]] if category in TRUTHS else [GOLD, PARALLEL, {"ping": {}}, {"home.lamp": {"on": True}}]
    rows = [(f"{category}_{number}_0", truth) for number, truth in enumerate(truths)]
    suite = write(tmp_path, category, *rows, profile="{'name': 'Ann'}")
    assert [await score_gold(suite, item) for item in suite.items(category)] == [(1.0, 0.0)] * len(truths)


@pytest.mark.parametrize("truth", [{"plan_trip": {"city": "--"}}, {"plan_trip": {"guests": [{"name": "A"}], "city": ""}}])
async def test_corrupting_changes_a_value_that_the_rule_compares(tmp_path: Path, truth: Any):
    suite = write(tmp_path, ATOM, (f"{ATOM}_0", truth))
    assert await score_gold(suite, next(suite.items(ATOM))) == (1.0, 0.0)


async def test_a_conversation_is_solved_if_all_its_steps_are(tmp_path: Path):
    category = "normal_multi_turn_user_adjust"
    rows = [("a_0_0", {"ping": {}}), ("a_0_1", {"plan_trip": {"city": "Rome"}}), ("a_1_0", {"ping": {}})]
    suite = write(tmp_path, category, *rows)
    first, second = suite.items(category)
    assert (first.id, second.id) == ("a_0", "a_1")
    assert [len(suite.gold(item)) for item in (first, second)] == [2, 1]
    verdict = await suite.attempt(first, answering([call("ping", {})], [call("plan_trip", {"city": "Oslo"})]))
    assert (verdict.score, verdict.reason) == (0.0, "step 2: plan_trip has another city")


def answering(*turns: list[ToolCall]) -> Any:
    remaining = iter(turns)

    async def model(messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        return Reply(calls=tuple(next(remaining)))

    return model


def test_a_dialogue_becomes_messages():
    text = "user: Hi.\nI have:\n- a: b\nsystem: [home.lamp(on=true, level=[1, -2.5]), ping()]\nsystem: Done.\nuser: And [x]?\n"
    hello, calls, lamp, ping, done, last = dialogue(text)
    assert hello == {"role": "user", "content": "Hi.\nI have:\n- a: b"}
    assert [call["function"] for call in calls["tool_calls"]] == [
        {"name": "home_lamp", "arguments": '{"on": true, "level": [1, -2.5]}'},
        {"name": "ping", "arguments": "{}"},
    ]
    assert [lamp["tool_call_id"], ping["tool_call_id"]] == [call["id"] for call in calls["tool_calls"]]
    assert (lamp["role"], lamp["content"]) == ("tool", "")
    assert done == {"role": "assistant", "content": "Done."}
    assert last == {"role": "user", "content": "And [x]?"}


@pytest.mark.parametrize("text", ["[1, 2]", "[f(1)]", "[f(x=y)]", "[see page 3]", "{}"])
def test_text_that_is_not_a_list_of_calls_stays_text(text: str):
    assert dialogue(f"user: Go.\nsystem: {text}")[1] == {"role": "assistant", "content": text}


def test_a_tool_result_in_the_data_is_kept():
    assert dialogue('system: [ping()]\ntool: {"ok": 1}')[1]["content"] == '{"ok": 1}'


def test_schemas_become_valid_json_schema(tmp_path: Path):
    trip, lamp, _ = (tool["function"] for tool in first(tmp_path, ATOM, {"ping": {}}).tools)
    assert trip["parameters"]["type"] == "object"
    assert trip["parameters"]["properties"]["guests"]["type"] == "array"
    assert trip["parameters"]["required"] == ["city"]
    assert lamp == {
        "name": "home_lamp",
        "description": "Switches a lamp.",
        "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}, "level": {"type": "number"}}},
    }


def first(directory: Path, category: str, truth: Any, **more: Any) -> Item:
    return next(write(directory, category, (f"{category}_0", truth), **more).items(category))


def test_time_and_profile_reach_the_model(tmp_path: Path):
    assert first(tmp_path, ATOM, {"ping": {}}).messages[0]["content"].endswith("\n\nIt is noon.")
    content = first(tmp_path, "normal_preference", {"ping": {}}, profile={"name": "Ann"}).messages[0]["content"]
    assert content.endswith("{'name': 'Ann'}")
    assert "profile" in content


def test_the_prompt_contains_the_sentences_that_the_rule_looks_for(tmp_path: Path):
    content = first(tmp_path, "special_irrelevant", "cannot").messages[0]["content"]
    assert "There is incorrect value (value) for the parameters (key) in the conversation history." in content
    assert "Missing necessary parameters (key1, key2, ...) for the api (ApiName)" in content
    assert "Due to the limitations of the function, I cannot solve this problem." in content


@pytest.mark.parametrize("category", ["agent", "agent_multi_turn"])
def test_agent_categories_are_rejected_with_a_reason(tmp_path: Path, category: str):
    with pytest.raises(AutoToolError, match="second model that plays the user"):
        AceBench(tmp_path, [category])


def test_a_missing_file_and_an_unknown_category_are_named(tmp_path: Path):
    with pytest.raises(AutoToolError, match="data_normal_atom_bool"):
        next(AceBench(tmp_path).items(ATOM))
    with pytest.raises(AutoToolError, match="normal_atom_colour"):
        AceBench(tmp_path, ["normal_atom_colour"])


@pytest.mark.parametrize(
    ("truth", "question"),
    [({"dance": {}}, "user: Go."), ({"ping": {}}, "Go."), ({"ping": {}}, "")],
    ids=["unknown-function", "no-turn", "empty"],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, truth: Any, question: str):
    suite = write(tmp_path, ATOM, (f"{ATOM}_0", truth), question=question)
    with pytest.raises(AutoToolError, match=r"data_normal_atom_bool\.json, row 1 "):
        list(suite.items(ATOM))


def test_every_question_needs_its_answer(tmp_path: Path):
    suite = write(tmp_path, ATOM, (f"{ATOM}_0", {"ping": {}}), (f"{ATOM}_1", {"ping": {}}))
    answers = tmp_path / "possible_answer" / f"data_{ATOM}.json"
    answers.write_text(answers.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    with pytest.raises(AutoToolError, match=r"row 2 .*no row"):
        list(suite.items(ATOM))


@pytest.mark.skipif("AUTOTOOL_EVAL_DATA" not in os.environ, reason="AUTOTOOL_EVAL_DATA names no directory of evaluation data")
@pytest.mark.parametrize("category", CATEGORIES)
async def test_gold_scores_of_the_real_rows(category: str):
    suite = AceBench(Path(os.environ["AUTOTOOL_EVAL_DATA"]) / "acebench_sample")
    scores = [await score_gold(suite, item) for item in suite.items(category)]
    assert len(scores) == (4 if "multi_turn" in category else 8)
    assert set(scores) == {(1.0, 0.0)}
