"""The data of the default model's stages, of small files."""

import json
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.training_data import lines

SCRIPT = Path(__file__).parents[2] / "training" / "recipes" / "smollm2_135m_data.py"


def row(key: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "source": "seal_apis", "tools": [key], **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "many", "told"):
        kinds = ("one", "wider", "retold", "back", "afresh", "several")
        lines(tmp_path / f"again-{name}.jsonl", *(row(f"{name}/{number}-{kind}") for number, kind in enumerate(kinds)))
    graded = [row(f"graded/{label}", source="graded", label=label) for label in ("short", "long")]
    lines(tmp_path / "labelled.jsonl", *graded, row("a", label="short"), row("b", source="toolrl", label="short"))
    return tmp_path


def run(task: str, folder: Path) -> None:
    runpy.run_path(str(SCRIPT))["main"](task, str(folder))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_learnt_short_of_graded_is_tried_again(folder: Path) -> None:
    run("tried", folder)
    assert [(one["id"], one["label"]) for one in read(folder / "again-tried.jsonl")] == [("graded/short", None)]


def test_the_second_sft_has_of_each_file_its_kinds_and_what_rl_decided(folder: Path) -> None:
    lines(folder / "again-graded.jsonl", row("graded/short", source="graded", label="long"))
    run("again", folder)
    made = read(folder / "again.jsonl")
    assert Counter(one["id"].split("/")[0] for one in made) == {"one": 6, "told": 2, "many": 10, "graded": 2, "b": 1}
    assert {one["id"].split("-")[1] for one in made if one["id"].startswith("told")} == {"retold/short", "back/short"}
    assert not [one for one in made if one["id"].startswith("many") and "afresh" in one["id"]]
    assert Counter((one["source"], one["label"]) for one in made)["graded", "long"] == 2
