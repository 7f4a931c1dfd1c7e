"""The real stages of `autotool train run` on a tiny model, made again: with other settings, and after nothing to learn."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.training import SIZES, records

from autotool_core.errors import AutoToolError
from autotool_training import pipeline
from autotool_training.common import records as files
from autotool_training.label.label import ModelChoice
from autotool_training.pipeline.stages import Job, stages
from autotool_training.recipe import Recipe


def recipe(**sections: dict[str, Any]) -> Recipe:
    given: dict[str, Any] = {
        "base": {"source": "scratch", "scratch": SIZES},
        "sft": {"epochs": 1, "batch_size": 4, "warmup_steps": 1, "save_steps": 1},
        "refine": {"rounds": 0, "group": 2, "batch": 8},
        "rl": {"max_response_tokens": 8},
    }
    return Recipe.model_validate(given | {name: given[name] | values for name, values in sections.items()})


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job of the stages from labelled records to those for RL."""
    made = stages
    monkeypatch.setattr(pipeline, "stages", lambda one: [stage for stage in made(one) if stage.name in ("sft", "refine")])
    monkeypatch.setattr(pipeline, "read_results", lambda _: [])
    models = ModelChoice("short.jsonl"), ModelChoice("long.jsonl")
    return Job(recipe=recipe(), data="d.jsonl", out=tmp_path, models=models, skipped=pytest.fail)


def label(folder: Path, count: int) -> None:
    files.write(folder / "labelled.jsonl", (one.model_copy(update={"label": "short"}) for one in records(count)))


def run(job: Job, **sections: dict[str, Any]) -> Sequence[str]:
    said: list[str] = []
    pipeline.run(replace(job, recipe=recipe(**sections)), said.append)
    return said


def remove(job: Job, **sections: dict[str, Any]) -> None:
    """Do what the refusal of other settings says."""
    with pytest.raises(AutoToolError, match="begun with other settings") as refused:
        run(job, **sections)
    command = str(refused.value).partition("made again: ")[2]
    subprocess.run(shlex.split(command), check=True)


def test_stages_of_other_settings_are_made_again_once_what_is_named_is_removed(job: Job) -> None:
    label(job.out, 8)
    assert len(run(job)) == 2
    remove(job, sft={"batch_size": 2})
    said = run(job, sft={"batch_size": 2})
    assert ["done before" in line for line in said] == [False, False]
    remove(job, sft={"batch_size": 2}, rl={"max_response_tokens": 9})
    said = run(job, sft={"batch_size": 2}, rl={"max_response_tokens": 9})
    assert ["done before" in line for line in said] == [True, False]


def test_a_run_without_sequences_leaves_the_folder_to_one_that_has_some(job: Job) -> None:
    label(job.out, 0)
    with pytest.raises(AutoToolError, match="nothing to train on"):
        run(job)
    assert not (job.out / "sft/run.json").exists()
    label(job.out, 8)
    assert len(run(job)) == 2
