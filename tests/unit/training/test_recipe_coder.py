"""Tests of the data of qwen2.5-coder-0.5b, with small files, and of the questions that need no tool."""

import json
import random
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from support.training_data import lines

from autotool_training.common.records import GoldCall, Record

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
DATA, QUESTIONS, TURNS = (
    runpy.run_path(str(RECIPES / name)) for name in ("qwen_coder_data.py", "plain_questions.py", "qwen_coder_turns.py")
)
LONG = "So. " * 400
NATURAL = ("toolrl", "reason_tool_use", "seal_tools", "glaive")


def row(source: str, number: int, **more: Any) -> dict[str, Any]:
    """A record; three of a source have the same tools."""
    return {
        "id": f"{source}/{number}",
        "source": source,
        "tools": [number // 3],
        "level": number % 4,
        "reasoning": None,
        **more,
    }


def messages(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Do {number}."}, {"role": "assistant", "content": "When?"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {name: [row(name, number) for number in range(900)] for name in (*NATURAL, "api-many", "graded", "plain", "turns")}
    rows["graded"] = [row("graded", number, reasoning="Because.") for number in range(900)]
    rows["toolrl"] = [row("toolrl", number, reasoning=("So.", None, LONG)[number % 3]) for number in range(900)]
    kinds = ("one", "wider", "retold", "refused", "back")
    rows["api-one"] = [
        row(f"api-one/{kind}", number, id=f"{number}-{kind}", messages=messages(number))
        for kind in kinds
        for number in range(300)
    ]
    lines(tmp_path / "natural.jsonl", *(one for name in NATURAL for one in rows[name]))
    for name in rows.keys() - {*NATURAL}:
        lines(tmp_path / f"{name}.jsonl", *rows[name])
    DATA["main"]("practice", str(tmp_path))
    return tmp_path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_attempted_was_not_practised(folder: Path) -> None:
    practice, attempted = read(folder / "practice.jsonl"), read(folder / "label.jsonl")
    assert {one["id"] for one in practice}.isdisjoint(one["id"] for one in attempted)
    assert len(attempted) == sum(DATA["LABEL"].values())
    assert not any("label" in one for one in attempted)


def test_only_recorded_reasoning_is_learnt_and_hard_tasks_are_not_answered_at_once(folder: Path) -> None:
    practice = read(folder / "practice.jsonl")
    assert {one["reasoning"] for one in practice if one["label"] == "long"} == {"Because.", "So."}
    assert {one["source"] for one in practice if one["label"] == "long"} == {"graded", "toolrl"}
    at_once = [one["level"] for one in practice if one["source"] == "graded" and one["label"] == "short"]
    assert len(at_once) == DATA["PRACTICE"]["graded"][0]
    assert max(at_once) <= DATA["EASY"]


def test_records_with_the_same_tools_stay_together(folder: Path) -> None:
    short = [one for one in read(folder / "practice.jsonl") if one["source"] == "api-many"]
    sets = {one["tools"][0] for one in short}
    assert len(short) == DATA["PRACTICE"]["api-many"][0] == 3 * len(sets)


def test_the_turn_before_a_clarified_request_asks_back(folder: Path) -> None:
    asks = [one for one in read(folder / "practice.jsonl") if one["id"].endswith("-asks")]
    assert len(asks) == DATA["PRACTICE"]["asks"][0]
    assert all((one["content"], one["calls"], len(one["messages"])) == ("When?", [], 1) for one in asks)


def test_there_are_thirty_questions_twenty_of_them_with_an_exact_answer() -> None:
    questions = read(RECIPES / "plain_questions.jsonl")
    assert len({one["question"] for one in questions}) == 30
    assert len([one for one in questions if one["answers"]]) == 20


@pytest.mark.parametrize(
    ("said", "answers", "is_right"),
    [
        ("It is 42.", ["42"], True),
        ("It is 142.", ["42"], False),
        ("A week has Seven days.", ["7", "seven"], True),
        ("hello", ["HELLO"], False),
        ("HELLO", ["HELLO"], True),
    ],
)
def test_an_exact_answer_is_a_word_of_its_own(said: str, answers: list[str], is_right: bool) -> None:
    assert QUESTIONS["_is_right"](said, answers) is is_right


@pytest.fixture
def turns(tmp_path: Path) -> list[tuple[Record, list[str]]]:
    """The turns after forty requests for one tool, and one for a tool whose result is a truth value."""
    described = {"api_description": "Tell it", "parameters": {}, "required": [], "field": "Weather"}
    values = {
        "temperature": {"type": "int", "description": "It"},
        "sky": {"type": "str", "description": "It (e.g., clear, grey)"},
    }
    rows = [{"api_name": "weather", "responses": values}, {"api_name": "is_on", "responses": {"on": {"type": "bool"}}}]
    descriptions = lines(tmp_path / "apis.jsonl", *(described | one for one in rows))
    more: dict[str, Any] = {"tools": [], "messages": [{"role": "user", "content": "?"}], "source": "s", "licence": "MIT"}
    asked = ["weather"] * 40 + ["is_on"]
    requests = [Record(id=str(key), calls=[GoldCall(name=name, arguments={})], **more) for key, name in enumerate(asked)]
    return [*TURNS["make_turns"](requests, TURNS["_responses"](descriptions), 40)]


def test_results_come_in_every_form_and_some_are_errors(turns: list[tuple[Record, list[str]]]) -> None:
    results = [record.messages[-1]["content"] for record, _ in turns]
    assert {record.messages[-2]["tool_calls"][0]["function"]["name"] for record, _ in turns} == {"weather"}
    for start in ('{"temperature":', '{"temperature": ', '{\n  "temperature": ', "temperature: "):
        assert [result for result in results if result.startswith(start)]
    errors = [result for result, (_, values) in zip(results, turns, strict=True) if not values]
    assert 0 < len(errors) < 20
    assert {*errors} <= {*TURNS["ERRORS"]}


def test_only_answers_that_tell_the_result_are_kept(turns: list[tuple[Record, list[str]]]) -> None:
    told = {record.id: " and ".join(values) or "There was an error." for record, values in turns}
    assert len(TURNS["answered"](turns, lambda record: told[record.id])) == len(turns)
    assert TURNS["answered"](turns, lambda _: "It is done.") == []


@pytest.mark.parametrize(
    ("said", "values", "told"),
    [
        ("It is 1,024 grams and Clear.", ["1024", "clear"], True),
        ("It is 1,024 grams.", ["1024", "clear"], False),
        ("It is 13 grams.", ["3"], False),
        ("I could not reach the service.", [], True),
        ("I can't reach the service.", [], True),
        ("All is well.", [], False),
    ],
)
def test_what_an_answer_must_tell(said: str, values: list[str], told: bool) -> None:
    assert TURNS["tells"](said, values) is told


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(RECIPES)
    return runpy.run_path(str(RECIPES / "qwen_coder_plain.py"))


@pytest.fixture
def fields(tmp_path: Path, plain: dict[str, Any]) -> Path:
    return lines(tmp_path / "apis.jsonl", *({"field": f"Field/Topic {number}"} for number in range(plain["TOPICS"])))


def test_no_question_of_the_thirty_is_learnt(plain: dict[str, Any], fields: Path) -> None:
    questions = {question for question, _ in plain["_questions"](fields, random.Random(0))}  # noqa: S311
    assert len(questions) > 500
    assert questions.isdisjoint(one["question"] for one in read(RECIPES / "plain_questions.jsonl"))
    assert "Hello!" not in questions


def test_wrong_sums_and_refusals_are_not_learnt(
    plain: dict[str, Any], fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(record: Record) -> str:
        question = record.messages[-1]["content"]
        if added := re.search(r"(\d+) \+ (\d+)", question):
            return f"It is {int(added[1]) + int(added[2])}."
        return "I'm sorry, but I can't assist with that." if "capital" in question else "It is unknown."

    monkeypatch.setitem(plain["main"].__globals__, "server", lambda url, max_tokens: said)
    request = {
        "id": "0",
        "tools": [],
        "messages": [{"role": "user", "content": "?"}],
        "calls": [],
        "source": "s",
        "licence": "MIT",
    }
    requests = lines(tmp_path / "requests.jsonl", *(request for _ in range(plain["TOOL_SETS"])))
    plain["main"](str(fields), str(requests), "url", str(tmp_path / "plain.jsonl"))
    asked = [one["messages"][0]["content"] for one in read(tmp_path / "plain.jsonl")]
    assert "Hi!" in asked
    assert not [question for question in asked if "capital of" in question]
    assert {question.split()[3] for question in asked if re.match(r"What is \d", question)} - {"percent"} == {"+"}
