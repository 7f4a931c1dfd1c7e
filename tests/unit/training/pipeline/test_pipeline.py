"""Tests of what a run makes again and what it passes over, of its launcher, and of the table of the modes."""

import re
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autotool_core.errors import AutoToolError
from autotool_training import pipeline
from autotool_training.label.label import ModelChoice
from autotool_training.pipeline.measure import ModeResult, table
from autotool_training.pipeline.stages import Job, Stage, stages
from autotool_training.recipe import Recipe

RESULT = ModeResult("auto", turns=8, right=6, call_turns=4, right_calls=3, tokens=100, long=2)


def job(folder: Path, **fields: Any) -> Job:
    models = ModelChoice("short.jsonl"), ModelChoice("long.jsonl")
    return Job(recipe=Recipe(), data="d.jsonl", out=folder, models=models, skipped=pytest.fail, **fields)


class Steps:
    """Stages that write a file each, and note that they were made. The third one fails until it may go on."""

    def __init__(self, folder: Path) -> None:
        self.made: list[str] = []
        self.settings: dict[str, dict[str, Any]] = {"data": {"seed": 1}, "sft": {"sft": {"steps": 2}}, "rl": {}}
        self.assumed: dict[str, dict[str, Any]] = {"data": {}, "sft": {}, "rl": {}}
        self.fails, self.failing = True, "rl"
        self._folder = folder

    def __call__(self, _: Job) -> list[Stage]:
        return [self._stage(name) for name in self.settings]

    def _stage(self, name: str) -> Stage:
        known = lambda: self.settings[name], lambda: self.assumed[name]
        return Stage(name, self._folder / name, self._folder, (name,), *known, lambda: self._make(name), "sft.steps")

    def _make(self, name: str) -> str:
        self.made.append(name)
        if name == self.failing and self.fails:
            raise AutoToolError("stopped")
        (self._folder / name).write_text(name)
        return f"the result of {name}"


def test_a_run_goes_on_after_the_stages_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, said = Steps(tmp_path), list[str]()
    monkeypatch.setattr(pipeline, "stages", steps)
    monkeypatch.setattr(pipeline, "read_results", lambda _: [RESULT])
    with pytest.raises(AutoToolError, match="stopped"):
        pipeline.run(job(tmp_path), said.append)
    steps.fails = False
    assert pipeline.run(job(tmp_path), said.append) == [RESULT]
    assert steps.made == ["data", "sft", "rl", "rl"]
    assert [line.startswith(name) for line, name in zip(said, ("data", "sft", "data", "sft", "rl"), strict=True)] == [True] * 5
    assert ["done before" in line for line in said] == [False, False, True, True, False]
    assert "the result of rl" in said[-1]


def silent(_: str) -> None: ...


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps(tmp_path)
    monkeypatch.setattr(pipeline, "stages", made)
    monkeypatch.setattr(pipeline, "read_results", lambda _: [RESULT])
    made.fails = False
    pipeline.run(job(tmp_path), silent)
    return made


def test_other_settings_are_refused_until_what_they_change_is_removed(steps: Steps, tmp_path: Path) -> None:
    steps.settings["sft"] = {"sft": {"steps": 1}, "base_contents": "a digest"}
    removal = f"rm -r {tmp_path / 'sft'} {tmp_path / 'rl'}"
    begun = r"The stage sft was begun with other settings or data \(sft\.steps=2\)"
    with pytest.raises(AutoToolError, match=f"{begun}.*{re.escape(removal)}"):
        pipeline.run(job(tmp_path), silent)
    assert steps.made == ["data", "sft", "rl"]
    subprocess.run(removal.split(), check=True)
    pipeline.run(job(tmp_path), silent)
    assert steps.made == ["data", "sft", "rl", "sft", "rl"]


def test_a_setting_that_is_newer_than_a_run_counts_as_its_default(steps: Steps, tmp_path: Path) -> None:
    steps.assumed["sft"] = {"sft": {"share": False}}
    steps.settings["sft"] = {"sft": {"steps": 2, "share": False}}
    pipeline.run(job(tmp_path), silent)
    assert steps.made == ["data", "sft", "rl"]
    steps.settings["sft"] = {"sft": {"steps": 2, "share": True}}
    with pytest.raises(AutoToolError, match=r"stage sft was begun with other settings or data \(sft\.share=false\)"):
        pipeline.run(job(tmp_path), silent)


def test_more_steps_are_made_and_what_follows_is_made_again(steps: Steps, tmp_path: Path) -> None:
    steps.settings["sft"] = {"sft": {"steps": 3}}
    pipeline.run(job(tmp_path), silent)
    assert steps.made == ["data", "sft", "rl", "sft", "rl"]
    pipeline.run(job(tmp_path), silent)
    assert steps.made == ["data", "sft", "rl", "sft", "rl"]


def test_a_result_outlives_a_failed_try_to_make_more_steps(steps: Steps, tmp_path: Path) -> None:
    steps.fails, steps.failing = True, "sft"
    first, steps.settings["sft"] = steps.settings["sft"], {"sft": {"steps": 3}}
    with pytest.raises(AutoToolError, match="stopped"):
        pipeline.run(job(tmp_path), silent)
    steps.settings["sft"] = first
    assert pipeline.run(job(tmp_path), silent) == [RESULT]
    assert steps.made == ["data", "sft", "rl", "sft"]


def test_a_run_that_held_its_settings_in_another_form_is_refused(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text('{"data": {"settings": [1], "result": "made"}}')
    with pytest.raises(AutoToolError, match="holds a run of code before the first release: give another --out"):
        pipeline.run(job(tmp_path), silent)
    assert steps.made == ["data", "sft", "rl"]


def test_what_follows_a_stage_that_was_made_anew_is_not_done(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "sft").unlink()
    steps.fails = True
    for _ in range(2):
        with pytest.raises(AutoToolError, match="stopped"):
            pipeline.run(job(tmp_path), silent)
    assert steps.made == ["data", "sft", "rl", "sft", "rl", "rl"]


def test_a_launcher_starts_the_stages_that_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    codes = iter((0, 3))

    def run(words: list[str], *, check: bool) -> subprocess.CompletedProcess[bytes]:
        ran.append(words)
        return subprocess.CompletedProcess(words, next(codes))

    monkeypatch.setattr(subprocess, "run", run)
    launched = job(tmp_path, launcher=["accelerate", "launch"], recipe_options=["r.toml", "--set", "rl.steps=2"])
    by_name = {stage.name: stage for stage in stages(launched)}
    by_name["sft"].make()
    with pytest.raises(AutoToolError, match=r"stage rl ended with code 3: accelerate launch -m autotool_cli train rl r\.toml"):
        by_name["rl"].make()
    command = "accelerate launch -m autotool_cli train sft r.toml --set rl.steps=2"
    assert ran[0] == [*command.split(), "--records", str(tmp_path / "labelled.jsonl"), "--out", str(tmp_path / "sft")]


def test_the_table_has_shares_of_turns_and_of_calls() -> None:
    Console(file=(out := StringIO()), width=100).print(table([RESULT]))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if "│" in line]
    assert cells == [["auto", "75.0%", "75.0%", "12.5", "25%"]]
    assert "8 held-out turns, 4 of them with calls" in out.getvalue()
