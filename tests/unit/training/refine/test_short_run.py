"""The short run of GRPO that refinement makes, and how its checkpoints are loaded."""

from pathlib import Path

import pytest
import torch
from support.training import SIZES, records

from autotool_training import cli, scratch
from autotool_training.common import records as files
from autotool_training.refine import probe
from autotool_training.refine.probe import ProbeJob
from autotool_training.refine.settings import RefineSettings
from autotool_training.refine.short_run import short_run
from autotool_training.rl.run_settings import RlSettings


def test_the_short_run_is_plain_grpo_with_one_step_a_batch() -> None:
    objective = {"importance_sampling_level": "sequence", "kl_beta": 0.1, "long_beta": 0.01}
    batches = {"num_iterations": 2, "save_steps": 2, "steps": 2, "max_num_gen_batches": 3}
    made = short_run(RefineSettings(rounds=2, round_steps=3), RlSettings.model_validate({"objective": objective, **batches}))
    assert (made.num_iterations, made.max_num_gen_batches, made.steps, made.save_steps) == (1, 1, 6, 3)
    assert (made.objective.variant, made.objective.importance_sampling_level, made.objective.kl_beta) == ("grpo", "token", 0)
    assert (made.objective.epsilon, made.objective.long_beta) == (0.2, 0.01)
    # Settings that hold together.
    assert RlSettings.model_validate(made.model_dump()) == made


class StopError(Exception):
    """The job is known."""


def test_checkpoints_of_a_run_in_4_bits_are_merged_into_a_base_in_its_dtype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch.make(SIZES, seed=0).save(tmp_path / "base")
    files.write(tmp_path / "records.jsonl", records(2))
    base = f'[base]\nsource = "{tmp_path / "base"}"\ndtype = "bfloat16"\nload_in_4bit = true\n'
    (tmp_path / "a.toml").write_text(f"{base}[sft]\nlora = {{}}\n[rl]\nlora = {{}}\n")
    jobs: list[ProbeJob] = []

    def stop(job: ProbeJob) -> None:
        jobs.append(job)
        raise StopError

    monkeypatch.setattr(probe, "refine_records", stop)
    with pytest.raises(StopError):
        cli.refine(tmp_path / "a.toml", tmp_path / "records.jsonl", [tmp_path / "base"], tmp_path / "out.jsonl")
    (job,) = jobs
    assert (job.loading.load_in_4bit, job.loading.dtype) == (False, "bfloat16")
    assert job.base().model.dtype == torch.bfloat16
    assert probe._identity(job)["dtype"] == "bfloat16"
