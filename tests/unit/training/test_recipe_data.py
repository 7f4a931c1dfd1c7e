"""Tests of the data of the default model's stages, with small files."""

import json
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.training_data import lines

SCRIPT = runpy.run_path(str(Path(__file__).parents[3] / "training" / "recipes" / "smollm2_135m_data.py"))


KINDS = ("one", "wider", "retold", "back", "afresh", "several")
OLD, HELD = "old", "held"
"""A tool that may have requests, and a held-out tool that may not."""


def row(key: str, tool: str = OLD, **more: Any) -> dict[str, Any]:
    return {"id": key, "source": "seal_apis", "tools": [key], "messages": [key], "calls": [{"name": tool}], **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "many", "told"):
        rows = [row(f"{name}/{number}-{kind}") for number, kind in enumerate(KINDS)]
        written = [row("seal_apis/later/1/refused-one", calls=None), row("seal_apis/later/2/refused-one", calls=None)]
        lines(tmp_path / f"again-{name}.jsonl", *rows, row(f"{name}/held-one", HELD), *written)
    graded = [row(f"graded/{label}", source="graded", label=label) for label in ("short", "long")]
    toolrl = [row("b", source="toolrl", label="short"), row("c", HELD, source="toolrl", label="short")]
    lines(tmp_path / "labelled.jsonl", *graded, row("a", label="short"), *toolrl)
    lines(tmp_path / "practice.jsonl", *graded, row("a", label="short"), row("plain", source="plain", label="short"))
    lines(tmp_path / "tasks.jsonl", *(row(f"tasks/{level}", source="graded", level=level) for level in (1, 3)))
    known = row("known", source="toolrl", messages=["b"])
    lines(tmp_path / "rl.jsonl", row("unseen", source="toolrl"), row("asked"), row("task", source="graded"), known)
    later = [OLD, *[HELD] * SCRIPT["HELD_OUT_TOOLS"]]
    lines(tmp_path / "later.jsonl", *({"api_name": name} for name in later))
    return tmp_path


def run(task: str, folder: Path) -> None:
    SCRIPT["main"](task, str(folder))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_graded_tasks_that_may_be_learnt_short_are_tried(folder: Path) -> None:
    run("tried", folder)
    tasks = [(one["id"], one["label"]) for one in read(folder / "again-tried.jsonl")]
    assert tasks == [("graded/short", None), ("tasks/1", None)]


@pytest.fixture
def made(folder: Path) -> list[dict[str, Any]]:
    lines(folder / "again-graded.jsonl", row("graded/short", source="graded", label="long"))
    run("again", folder)
    return read(folder / "again.jsonl")


def test_the_second_sft_has_the_kinds_of_each_file(made: list[dict[str, Any]]) -> None:
    assert Counter(one["id"].split("/")[0] for one in made if one["source"] == "seal_apis") == {
        "one": 6,
        "told": 6,
        "many": 10,
        "seal_apis": 4,
    }
    assert not [one for one in made if one["id"].startswith("many") and "afresh" in one["id"]]


def test_the_second_sft_has_the_learnt_and_the_labelled_records_of_the_other_sets(made: list[dict[str, Any]]) -> None:
    others = {(one["id"], one["label"]) for one in made if one["source"] != "seal_apis"}
    assert others == {
        ("graded/short", "long"),
        ("graded/long", "long"),
        ("tasks/3/long", "long"),
        ("b", "short"),
        ("plain", "short"),
    }


def test_some_tools_are_held_out_for_selection(made: list[dict[str, Any]], folder: Path) -> None:
    assert not [one for one in made if "held" in one["id"] or "later/2/" in one["id"]]
    assert {one["id"] for one in read(folder / "held.jsonl")} == {"one/held-one", "seal_apis/later/2/refused-one", "unseen"}
