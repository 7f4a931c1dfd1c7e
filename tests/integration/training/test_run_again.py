"""The real stages of `autotool train run` on a tiny model, made again: with other settings, and after nothing to learn."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.training import SIZES, records

from autotool_core import jsonl
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
        "rl": {"max_response_tokens": 8, "steps": 1, "prompts": 1, "group": 2, "probes": 2, "save_steps": 1},
    }
    return Recipe.model_validate(given | {name: given[name] | values for name, values in sections.items()})


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job of the stages from labelled records on, which ends with those for RL."""
    made = stages
    monkeypatch.setattr(pipeline, "stages", lambda one: [stage for stage in made(one) if stage.name not in ("data", "label")])
    models = ModelChoice("short.jsonl"), ModelChoice("long.jsonl")
    return Job(recipe=recipe(), data="d.jsonl", out=tmp_path, models=models, skipped=pytest.fail, until="refine")


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


def test_a_finished_run_is_given_more_steps_of_rl(job: Job) -> None:
    label(job.out, 8)
    whole = replace(job, until="measure")
    files.write(job.out / "held_out.jsonl", records(2))
    run(whole)
    before = (job.out / "rl/model.safetensors").read_bytes()
    said = run(whole, rl={"steps": 3})
    assert ["done before" in line for line in said] == [True, True, False, False]
    steps = [line["step"] for line in jsonl.read(job.out / "rl/metrics.jsonl") if "reward" in line]
    assert steps == [1, 2, 3]
    assert (job.out / "rl/model.safetensors").read_bytes() != before
    assert run(whole, rl={"steps": 3})[-1].endswith("done before)")
    with pytest.raises(AutoToolError, match=r"stage rl was begun with other settings or data \(rl\.steps=3\)"):
        run(whole)
