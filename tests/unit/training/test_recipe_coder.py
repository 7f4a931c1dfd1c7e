"""Tests of the data of qwen2.5-coder-0.5b, with small files, and of the questions that need no tool."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from support.training_data import lines

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
DATA, QUESTIONS = (runpy.run_path(str(RECIPES / name)) for name in ("qwen_coder_data.py", "plain_questions.py"))
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {name: [row(name, number) for number in range(900)] for name in DATA["PRACTICE"]}
    rows["graded"] = [row("graded", number, reasoning="Because.") for number in range(900)]
    rows["toolrl"] = [row("toolrl", number, reasoning="So." if number % 2 else None) for number in range(900)]
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
    assert all(one["reasoning"] for one in practice if one["label"] == "long")
    assert {one["source"] for one in practice if one["label"] == "long"} == {"graded", "toolrl"}
    at_once = [one["level"] for one in practice if one["source"] == "graded" and one["label"] == "short"]
    assert len(at_once) == DATA["PRACTICE"]["graded"][0]
    assert max(at_once) <= DATA["EASY"]


def test_records_with_the_same_tools_stay_together(folder: Path) -> None:
    short = [one for one in read(folder / "practice.jsonl") if one["source"] == "api-one"]
    sets = {one["tools"][0] for one in short}
    assert len(short) == DATA["PRACTICE"]["api-one"][0] == 3 * len(sets)


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
