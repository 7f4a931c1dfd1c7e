"""Where a run resumes, and how a full disk is recognised."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from safetensors import SafetensorError
from support.training import SIZES, records
from transformers import TrainerState

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_training import scratch
from autotool_training.common import resume
from autotool_training.common.callbacks import MIN_FREE_BYTES, MetricsWriter, explain_full_disk, is_disk_full
from autotool_training.common.examples import Example
from autotool_training.rl import run as rl
from autotool_training.rl.run_settings import RlSettings
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.scratch import pretrain
from autotool_training.sft import train as sft

TORN = "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"
"""The error of torch for a file that a full disk has no room for."""


def saved(folder: Path, step: int, *, whole: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if whole:
        TrainerState(global_step=step, max_steps=10).save_to_json(str(path / "trainer_state.json"))
    return path


def test_a_run_resumes_from_the_last_complete_checkpoint(tmp_path: Path) -> None:
    assert resume.last_complete(tmp_path / "none") is None
    whole = saved(tmp_path, 9)
    saved(tmp_path, 10, whole=False)
    torn = saved(tmp_path, 11)
    (torn / "trainer_state.json").write_text('{"global_step": 1')
    assert resume.last_complete(tmp_path) == whole


class FakeTrainer:
    def __init__(self, max_steps: int) -> None:
        self.args: Any = type("Arguments", (), {"max_steps": max_steps, "report_to": []})
        self.done: list[tuple[str, str | None]] = []

    def train(self, resume_from_checkpoint: str | None = None) -> None:
        self.done.append(("train", resume_from_checkpoint))

    def remove_callback(self, callback: object) -> None: ...

    def add_callback(self, callback: object) -> None: ...

    def _load_from_checkpoint(self, folder: str) -> None:
        self.done.append(("load", folder))


@pytest.mark.parametrize(("max_steps", "done"), [(12, "train"), (10, "load"), (-1, "load")])
def test_a_run_that_took_all_its_steps_takes_no_more(tmp_path: Path, max_steps: int, done: str) -> None:
    trainer: Any = FakeTrainer(max_steps)
    resume.train(trainer, tmp_path)
    last = saved(tmp_path, 10)
    resume.train(trainer, tmp_path)
    assert trainer.done == [("train", None), (done, str(last))]


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    run = {"seed": 0, "settings": {"rl": {"steps": 5, "group": (1, 2)}}}
    resume.claim_run_dir(tmp_path / "out", run)
    resume.claim_run_dir(tmp_path / "out", run)
    other = {"seed": 1, "settings": {"rl": {"steps": 6, "group": (1, 2)}}}
    with pytest.raises(
        AutoToolError, match=r"out holds a run with other settings \(seed, settings\.rl\.steps=5\): give another"
    ):
        resume.claim_run_dir(tmp_path / "out", other)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]


def test_a_setting_that_came_later_is_no_other_run_unless_it_changes_what_was_done(tmp_path: Path) -> None:
    resume.claim_run_dir(tmp_path, {"settings": {"rl": {"steps": 5}}})
    assumed = {"settings": {"rl": {"limit": 2048, "way": "old"}, "more": 1}}
    later = {"settings": {"rl": {"steps": 5, "limit": 2048, "way": "old"}, "more": 1}}
    resume.claim_run_dir(tmp_path, later, assumed=assumed)
    later["settings"]["rl"]["way"] = "new"
    with pytest.raises(AutoToolError, match=r"other settings \(settings\.rl\.way=\"old\"\)"):
        resume.claim_run_dir(tmp_path, later, assumed=assumed)


def test_what_does_not_matter_is_not_compared(tmp_path: Path) -> None:
    resume.claim_run_dir(tmp_path, {"settings": {"keep": 1, "term": {"beta": 0.1}, "keeper": 1}, "version": 1})
    other = {"settings": {"keep": 2, "term": {"beta": 0.2}, "keeper": 2}, "version": 2}
    with pytest.raises(AutoToolError, match=r"other settings \(settings\.keeper=1\)"):
        resume.claim_run_dir(tmp_path, other, unused=["version", "settings.keep", "settings.term"])


def test_a_base_in_another_folder_is_the_same_base_if_its_weights_are(tmp_path: Path) -> None:
    resume.claim_run_dir(tmp_path, {"base": "runs/x/sft", "base_contents": "abc"})
    resume.claim_run_dir(tmp_path, {"base": "/home/me/runs/x/sft", "base_contents": "abc"})
    with pytest.raises(AutoToolError, match=r"\(base, base_contents\)"):
        resume.claim_run_dir(tmp_path, {"base": "runs/y/sft", "base_contents": "abd"})
    held = tmp_path / "hub"
    resume.claim_run_dir(held, {"base": "owner/one", "base_contents": None})
    with pytest.raises(AutoToolError, match=r"\(base\)"):
        resume.claim_run_dir(held, {"base": "owner/two", "base_contents": None})


def test_settings_that_only_observe_may_change(tmp_path: Path) -> None:
    settings = RlSettings()
    unused = rl._unused(settings.objective.variant)
    resume.claim_run_dir(tmp_path, {"settings": settings.model_dump()}, unused=unused)
    moved = settings.model_copy(update={"vllm_url": "http://elsewhere:8000", "keep": 5})
    resume.claim_run_dir(tmp_path, {"settings": moved.model_dump()}, unused=unused)


def test_how_targets_are_measured_does_not_matter_to_a_run_without_measured_targets(tmp_path: Path) -> None:
    settings = RlSettings(objective=ObjectiveSettings(variant="static-beta"))
    unused = rl._unused("static-beta")
    resume.claim_run_dir(tmp_path, {"settings": settings.model_dump()}, unused=unused)
    other = settings.model_copy(update={"target_answers": "forced", "percentile": 50, "probes": 2})
    resume.claim_run_dir(tmp_path, {"settings": other.model_dump()}, unused=unused)


def test_a_finished_run_may_get_more_steps_and_not_fewer(tmp_path: Path) -> None:
    def claim(steps: int) -> None:
        resume.claim_run_dir(tmp_path, {"settings": {"steps": steps}}, growing="settings.steps")

    claim(5)
    profile = tmp_path / "mode_profile.json"
    profile.touch()
    claim(5)
    assert profile.exists()
    with pytest.raises(AutoToolError, match="no checkpoint in steps/ to go on from"):
        claim(8)
    saved(tmp_path / "steps", 5)
    claim(8)
    assert not profile.exists()
    with pytest.raises(AutoToolError, match=r"other settings \(settings\.steps=8\)"):
        claim(5)


def test_a_finished_run_that_gets_no_more_says_how_to_train_on(tmp_path: Path) -> None:
    def refusal(epochs: float) -> str:
        with pytest.raises(AutoToolError) as refused:
            resume.claim_run_dir(tmp_path, {"settings": {"epochs": epochs}}, planned="settings.epochs")
        return str(refused.value)

    resume.claim_run_dir(tmp_path, {"settings": {"epochs": 2.0}}, planned="settings.epochs")
    plain = f"{tmp_path} holds a run with other settings (settings.epochs=2.0): give another --out, or remove it."
    assert refusal(3.0) == plain
    (tmp_path / "mode_profile.json").touch()
    assert refusal(1.0) == plain
    assert refusal(3.0) == (
        f"{plain} A finished run gets no more settings.epochs, since its learning rate has fallen to 0: to train on from its "
        f"result, give another --out and --set base.source={tmp_path}."
    )


def test_a_run_of_another_base_is_refused_and_one_of_older_code_resumes(tmp_path: Path) -> None:
    base = scratch.make(SIZES, seed=0)
    assert resume.base_identity(base) == {"base": "", "base_contents": None}
    base.save(tmp_path / "base")
    base.model.name_or_path = str(tmp_path / "base")
    first = resume.base_identity(base)
    resume.claim_run_dir(tmp_path / "new", first)
    resume.claim_run_dir(tmp_path / "old", {"base": first["base"]})
    scratch.make(SIZES, seed=1).save(tmp_path / "base")
    resume.claim_run_dir(tmp_path / "old", resume.base_identity(base))
    with pytest.raises(AutoToolError, match=r"new holds a run with other settings \(base_contents\): give another"):
        resume.claim_run_dir(tmp_path / "new", resume.base_identity(base))


def test_a_known_base_is_the_same_wherever_its_cache_is(tmp_path: Path) -> None:
    base, out = scratch.make(SIZES, seed=0), tmp_path / "run"

    def claim(cache: str, seed: int = 0) -> None:
        folder = tmp_path / cache / "qwen2.5-coder-1.5b-base-0123abcd"
        scratch.make(SIZES, seed=seed).save(folder)
        base.model.name_or_path = str(folder)
        resume.claim_run_dir(out, resume.base_identity(base))

    claim("old")
    assert json.loads((out / "run.json").read_text())["base"] == "qwen2.5-coder-1.5b"
    claim("new")
    with pytest.raises(AutoToolError, match=r"other settings \(base_contents\)"):
        claim("new", seed=1)
    # Older code stored the path.
    (out / "run.json").write_text(json.dumps({"base": "/home/ada/.cache/autotool/qwen2.5-coder-1.5b-base-4567cdef"}))
    claim("new")


def test_a_run_begins_once_the_folder_is_its_own(tmp_path: Path) -> None:
    begun: list[Path] = []
    resume.claim_run_dir(tmp_path, {"seed": 1}, begun.append)
    with pytest.raises(AutoToolError, match="seed"):
        resume.claim_run_dir(tmp_path, {"seed": 2}, begun.append)
    resume.claim_run_dir(tmp_path, {"seed": 1}, begun.append)
    assert begun == [tmp_path] * 2


def test_a_run_from_before_the_readings_of_the_entropy_term_is_known_by_what_it_did() -> None:
    assumed = rl._assumed(rl.RlSettings(max_prompt_tokens=9))
    done = {name: assumed["objective"][name] for name in ("beta_step", "entropy_aggregation", "mask_zero_variance_groups")}
    assert done == {"beta_step": "absolute", "entropy_aggregation": "seq-mean-token-mean", "mask_zero_variance_groups": True}
    assert assumed["target_answers"] == "forced"
    assert assumed["max_prompt_tokens"] == 9


def claim_older(out: Path, variant: Literal["grpo", "length-penalty", "autotool"], **changes: Any) -> None:
    """Store an RL run of older code that has ended, and ask for it with the settings of today."""
    held = {"percentile": 50.0, "objective": {"variant": variant, "beta_lr": 5e-4}}
    (out / "run.json").write_text(json.dumps({"stage": "rl", "settings": {"steps": 200, **held}}))
    settings = rl.RlSettings(**{"objective": ObjectiveSettings(variant=variant), **changes})
    run = {"stage": "rl", "settings": settings.model_dump(), "objective_version": rl.OBJECTIVE_VERSION}
    rl._reject_older_objective(out, settings.steps)
    resume.claim_run_dir(out, run, assumed={"settings": rl._assumed(settings)}, unused=rl._unused(variant))


def test_a_finished_run_of_older_code_is_refused_only_where_its_settings_had_an_effect(tmp_path: Path) -> None:
    (tmp_path / "mode_profile.json").touch()
    for variant in ("grpo", "length-penalty"):
        claim_older(tmp_path, variant, max_prompt_tokens=9)
    with pytest.raises(AutoToolError, match=r'settings\.objective\.beta_step="absolute".*settings\.percentile=50\.0'):
        claim_older(tmp_path, "autotool")
    back = ObjectiveSettings(beta_step="absolute", entropy_aggregation="seq-mean-token-mean", mask_zero_variance_groups=True)
    claim_older(tmp_path, "autotool", objective=back, percentile=50, target_answers="forced")


def test_an_older_run_does_not_go_on_with_another_objective(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"holds a run of older code.* cannot go on: give another --out"):
        claim_older(tmp_path, "grpo")
    (tmp_path / "mode_profile.json").touch()
    claim_older(tmp_path, "grpo")
    with pytest.raises(AutoToolError, match="holds a run of older code"):
        claim_older(tmp_path, "grpo", steps=201)


def test_every_stage_stores_the_identity_of_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[dict[str, Any]] = []

    def stop(_: Path, run: dict[str, Any], begin: object, **__: object) -> None:
        claimed.append(run)
        raise KeyboardInterrupt

    for stage in (sft, rl, pretrain):
        monkeypatch.setattr(stage, "claim_run_dir", stop)
    base = scratch.make(SIZES, seed=0)
    base.model.name_or_path = "owner/name"
    stages: list[Callable[[], object]] = [
        lambda: sft.train(base, [Example([1], [2])], sft.SftSettings(), tmp_path, seed=0),
        lambda: rl.train(base, records(8), rl.RlSettings(), tmp_path, seed=0),
        lambda: pretrain.pretrain(base, pretrain.PretrainSettings(), tmp_path, seed=0),
    ]
    for start in stages:
        with pytest.raises(KeyboardInterrupt):
            start()
    assert [resume.base_identity(base).items() <= run.items() for run in claimed] == [True] * 3


def test_a_digest_depends_on_all_fields_of_a_record() -> None:
    one, other = records(2)
    assert (
        resume.records_digest([one, other]) == resume.records_digest(iter([one, other])) != resume.records_digest([other, one])
    )
    assert resume.records_digest([one]) != resume.records_digest([one.model_copy(update={"label": "short"})])


@pytest.mark.parametrize(
    ("error", "free", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1 << 40, True),
        (SafetensorError("I/O error: No space left on device (os error 28)"), 1 << 40, True),
        (RuntimeError(TORN), MIN_FREE_BYTES - 1, True),
        (RuntimeError(TORN), 1 << 40, False),
        (RuntimeError("out of memory"), 0, False),
        (OSError(errno.EACCES, "Permission denied"), 0, False),
    ],
)
def test_a_full_disk_is_recognised_by_every_writers_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, free: int, full: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert is_disk_full(error, tmp_path / "new") is full
    with pytest.raises(AutoToolError if full else type(error), match="The disk is full: free room for" if full else ""):
        fail(error, tmp_path)


def fail(error: Exception, folder: Path) -> None:
    with explain_full_disk(folder):
        raise error


def test_metrics_continue_after_the_checkpoint_even_if_a_line_is_torn(tmp_path: Path) -> None:
    path, arguments, control = tmp_path / "metrics.jsonl", None, None
    state = TrainerState(global_step=3, is_world_process_zero=True)
    metrics: Any = MetricsWriter(path)
    metrics.on_log(arguments, state, control, logs={"loss": 0.5})
    with path.open("a") as file:
        file.write('{"step": 4, "loss": 0.4}\n{"step": 5, "lo')
    other = TrainerState(global_step=3, is_world_process_zero=False)
    metrics.on_train_begin(arguments, other, control)
    metrics.on_log(arguments, other, control, logs={"loss": 9.0})
    assert len(path.read_text().splitlines()) == 3  # other processes leave it alone
    metrics.on_train_begin(arguments, state, control)
    metrics.on_log(arguments, TrainerState(global_step=4, is_world_process_zero=True), control, logs={"loss": 0.3})
    assert list(jsonl.read(path)) == [{"step": 3, "loss": 0.5}, {"step": 4, "loss": 0.3}]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]
