"""RL of a tiny model from records to a checkpoint; the objective itself is tested in tests/unit."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

import pandas
import pytest
import torch
from support.training import SIZES, changed_rows, losses, make_base, records, saved_dtypes

from autotool_core.errors import AutoToolError
from autotool_training import scratch
from autotool_training.common import checkpoint
from autotool_training.common.lora import LoraSettings
from autotool_training.rl.grpo import AutoToolGRPOTrainer
from autotool_training.rl.run import RlSettings, train
from autotool_training.rl.settings import ObjectiveSettings

SETTINGS = RlSettings(
    objective=ObjectiveSettings(variant="autotool"), probes=4, steps=2, prompts=2, group=2, max_response_tokens=16, save_steps=1
)


class StopError(Exception):
    """A run is cut off."""


def run(out: Path) -> None:
    train(scratch.make(SIZES, seed=0), records(8), SETTINGS, out, seed=0)


def metrics(out: Path) -> list[dict[str, Any]]:
    """Return the metrics of each step that do not depend on the machine's speed."""
    timed = ("time", "runtime", "per_second", "flos")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not any(word in name for word in timed)} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing cut off."""
    folder = tmp_path_factory.mktemp("rl") / "whole"
    run(folder)
    return folder


def test_a_run_writes_targets_metrics_of_every_step_and_a_checkpoint(whole: Path) -> None:
    targets = json.loads((whole / "targets.json").read_text())
    assert targets["short"] > 0
    assert targets["long"] > 0
    assert [line["step"] for line in metrics(whole) if "beta_long" in line] == [1, 2]
    assert list((whole / "tensorboard").glob("events.out.tfevents*"))
    assert checkpoint.load_checkpoint(str(whole)).profile.name == "smollm2-autotool"


@pytest.mark.parametrize("at", ["its second step", "the writing of its result"])
def test_an_interrupted_run_resumes_with_the_results_of_an_uninterrupted_one(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    with monkeypatch.context() as patch:
        if at == "its second step":
            steps, end = iter([True]), AutoToolGRPOTrainer._end_micro_batch
            patch.setattr(AutoToolGRPOTrainer, "_end_micro_batch", lambda *of: end(*of) if next(steps, False) else stop())
        else:
            patch.setattr("autotool_training.rl.run.write_trained", lambda *_: stop())
        with pytest.raises(StopError):
            run(tmp_path)
    assert not (tmp_path / "mode_profile.json").exists()
    targets = (tmp_path / "targets.json").read_bytes()
    run(tmp_path)
    assert (tmp_path / "targets.json").read_bytes() == targets == (whole / "targets.json").read_bytes()
    for name in ("step", "reward", "thinking_rate", "beta_long"):
        ours, theirs = ([line[name] for line in metrics(folder) if "beta_long" in line] for folder in (tmp_path, whole))
        assert ours == pytest.approx(theirs)
    ours, theirs = (checkpoint.load_checkpoint(str(folder)).model.state_dict() for folder in (tmp_path, whole))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
    run(tmp_path)  # has ended: nothing more is done


def stop() -> None:
    raise StopError


def test_a_run_with_other_settings_is_refused_in_its_folder(whole: Path) -> None:
    other = SETTINGS.model_copy(update={"steps": 1})
    with pytest.raises(AutoToolError, match=r"holds a run with other settings \(seed, settings\.steps=2\)"):
        train(scratch.make(SIZES, seed=0), records(8), other, whole, seed=1)


def test_a_run_from_before_a_setting_goes_on_by_its_default(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "rl"
    shutil.copytree(whole, out)
    held = json.loads((out / "run.json").read_text())
    for name in ("num_iterations", "max_num_gen_batches", "evaluation", "vllm", "reward", "report_to", "log_completions"):
        del held["settings"][name]
    for name in ("loss_type", "importance_sampling_level", "epsilon", "epsilon_high", "kl_beta"):
        del held["settings"]["objective"][name]
    (out / "run.json").write_text(json.dumps(held))
    train(scratch.make(SIZES, seed=0), records(8), SETTINGS, out, seed=0)
    other = SETTINGS.model_copy(update={"num_iterations": 2})
    with pytest.raises(AutoToolError, match=r"other settings \(settings\.num_iterations=1\)"):
        train(scratch.make(SIZES, seed=0), records(8), other, out, seed=0)


def test_a_finished_run_goes_on_with_more_steps(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "rl"
    shutil.copytree(whole, out)
    before = metrics(out)
    train(scratch.make(SIZES, seed=0), records(8), SETTINGS.model_copy(update={"steps": 3}), out, seed=0)
    after = metrics(out)
    assert after[: len(before)] == before
    assert [line["step"] for line in after if "beta_long" in line] == [1, 2, 3]
    assert (out / "mode_profile.json").exists()


def test_records_with_long_prompts_are_left_out_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    short = SETTINGS.model_copy(update={"max_prompt_tokens": 8})
    with pytest.raises(AutoToolError, match="RL has 0 records"):
        train(scratch.make(SIZES, seed=0), records(3), short, tmp_path / "out", seed=0, skipped=told.append)
    assert told == ["3 records have prompts of more than 8 tokens (rl.max_prompt_tokens)"]


def test_a_finished_run_whose_prompts_are_now_too_long_is_left_as_it_is(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "rl"
    shutil.copytree(whole, out)
    held = json.loads((out / "run.json").read_text())
    del held["objective_version"], held["settings"]["max_prompt_tokens"]
    (out / "run.json").write_text(json.dumps(held))
    short = SETTINGS.model_copy(update={"max_prompt_tokens": 8})
    train(scratch.make(SIZES, seed=0), records(8), short, out, seed=0)
    assert metrics(out) == metrics(whole)
    (out / "mode_profile.json").unlink()
    with pytest.raises(AutoToolError, match="holds a run of older code"):
        train(scratch.make(SIZES, seed=0), records(8), short, out, seed=0)


@pytest.mark.parametrize("count", [0, 1])
def test_records_too_few_for_a_step_are_refused_and_the_folder_stays_free(tmp_path: Path, count: int) -> None:
    with pytest.raises(AutoToolError, match=rf"RL has {count} records, and a step takes 2 .* lower rl\.prompts"):
        train(scratch.make(SIZES, seed=0), records(count), SETTINGS, tmp_path / "out", seed=0)
    assert not (tmp_path / "out").exists()


# Halved groups have unequal rewards.
LEARNING = SETTINGS.model_copy(update={"decisions": "halved", "warmup_steps": 0, "learning_rate": 5e-3, "steps": 1})


@pytest.mark.parametrize(("tied", "dtype"), [(True, "float32"), (False, "float32"), (False, "bfloat16")])
def test_an_adapter_is_trained_and_merged(tmp_path: Path, tied: bool, dtype: Literal["float32", "bfloat16"]) -> None:
    settings = LEARNING.model_copy(update={"lora": LoraSettings(rank=2, alpha=4), "precision": dtype})
    base = make_base(tied=tied, dtype=dtype)
    # Answers that end: of cut ones the decision alone is learnt, whose gradients on the other tokens cancel out in a group.
    base.model.generation_config.sequence_bias = [[[base.tokenizer.eos_token_id], 6.0]]
    train(base, records(8), settings, tmp_path, seed=0)
    markers = {*base.tokenizer.convert_tokens_to_ids(list(base.profile.markers))}
    rows = changed_rows(make_base(tied=tied, dtype=dtype), tmp_path)
    assert rows["output"] == markers
    assert {base.tokenizer.convert_tokens_to_ids("<think>")} <= rows["input"] <= markers
    assert (tmp_path / "adapter/adapter_config.json").exists()
    assert (saved_dtypes(tmp_path), saved_dtypes(tmp_path / "adapter")) == ({getattr(torch, dtype)}, {torch.float32})
    assert all(map(math.isfinite, losses(tmp_path)))
    assert checkpoint.load_checkpoint(str(tmp_path)).tokenizer.chat_template


def test_mixed_precision_leaves_the_weights_in_float32(tmp_path: Path) -> None:
    train(make_base(), records(8), LEARNING.model_copy(update={"precision": "bfloat16"}), tmp_path, seed=0)
    assert saved_dtypes(tmp_path) == {torch.float32}
    assert len(losses(tmp_path)) == 1
    assert all(map(math.isfinite, losses(tmp_path)))


def test_tables_of_rollouts_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    write = pandas.DataFrame.to_parquet
    monkeypatch.setattr(pandas.DataFrame, "to_parquet", lambda *of, **options: written.append(of) or write(*of, **options))
    settings = SETTINGS.model_copy(update={"log_completions": 2, "objective": ObjectiveSettings(variant="grpo")})
    train(scratch.make(SIZES, seed=0), records(8), settings, tmp_path, seed=0)
    (file,) = (tmp_path / "steps" / "completions").iterdir()
    assert len(written) == 1  # and not once more with the summary at the end
    table = pandas.read_parquet(file)
    assert len(table) == 4
    assert {"step", "completion", "reward", "mode", "right", "fault", "tokens", "advantage"} <= {*table.columns}
    assert set(table["mode"]) <= {"long", "short"}
    assert set(table["step"]) == {2}
    requests = [record.messages[0]["content"] for record in records(8)]
    assert all(any(request in prompt for request in requests) for prompt in table["prompt"])


def test_a_reward_of_ones_own_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run_rewards.py").write_text(
        "def level(records, answers):\n    return [3.0 + record.level for record in records]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    plain = ObjectiveSettings(variant="grpo")
    settings = SETTINGS.model_copy(update={"reward": "run_rewards:level", "steps": 1, "objective": plain})
    some = [record.model_copy(update={"level": 2}) for record in records(2)]
    train(scratch.make(SIZES, seed=0), some, settings, tmp_path / "out", seed=0)
    assert [line["reward"] for line in metrics(tmp_path / "out") if "reward" in line] == [5.0]
