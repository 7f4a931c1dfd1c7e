"""Evaluation of a run on held-out records, and the best checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import SIZES, records

from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode
from autotool_training import scratch
from autotool_training.common import checkpoint
from autotool_training.common import records as files
from autotool_training.common.export import write_current
from autotool_training.common.lora import LoraSettings
from autotool_training.rl import evaluation
from autotool_training.rl.evaluation import HeldOutEvaluation, Result
from autotool_training.rl.run import train
from autotool_training.rl.run_settings import EvaluationSettings, RlSettings, VllmSettings
from autotool_training.rl.settings import ObjectiveSettings

PLAIN = RlSettings(
    objective=ObjectiveSettings(variant="grpo"), steps=2, prompts=2, group=2, max_response_tokens=12, save_steps=1
)


def run(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    """The metrics of a run that trains on eight records, with three others held out."""
    files.write(folder / "held_out.jsonl", records(11)[8:])
    held_out = EvaluationSettings(records=str(folder / "held_out.jsonl"), steps=1, batch=2)
    settings = PLAIN.model_copy(update={"evaluation": held_out, **changes})
    train(scratch.make(SIZES, seed=0), records(8), settings, folder / "out", seed=0)
    return [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


def test_every_mode_is_evaluated_and_training_is_what_it_is_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[list[list[int]], bool]] = []
    decode = HeldOutEvaluation._decode

    def recorded(self: HeldOutEvaluation, prompts: list[list[int]], *, decide: bool) -> list[list[int]]:
        decoded.append((prompts, decide))
        return decode(self, prompts, decide=decide)

    monkeypatch.setattr(HeldOutEvaluation, "_decode", recorded)
    lines = [line for line in run(tmp_path / "evaluated") if "reward" in line]
    metrics = {f"eval_{mode}/{name}" for mode in Mode for name in ("accuracy", "tokens")} | {"eval_auto/thinking_rate"}
    assert all(metrics <= line.keys() for line in lines)
    assert all(0 <= line["eval_auto/accuracy"] <= 1 and 1 <= line["eval_long/tokens"] <= 20 for line in lines)
    assert [decide for _, decide in decoded] == [mode is Mode.AUTO for mode in Mode] * 2
    prompts = dict(zip(Mode, (prompts for prompts, _ in decoded), strict=False))
    assert all(len(given) == 3 for given in prompts.values())
    for mode in (Mode.LONG, Mode.SHORT):
        rest = [given[len(plain) :] for given, plain in zip(prompts[mode], prompts[Mode.AUTO], strict=True)]
        assert rest[0]
        assert rest == [rest[0]] * 3
    alone = [line for line in run(tmp_path / "alone", evaluation=None) if "reward" in line]
    assert [line["reward"] for line in alone] == [line["reward"] for line in lines]
    assert [line["grad_norm"] for line in alone] == pytest.approx([line["grad_norm"] for line in lines])


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2, alpha=4)])
def test_the_best_checkpoint_can_be_served(tmp_path: Path, lora: LoraSettings | None) -> None:
    run(tmp_path, lora=lora, steps=1, learning_rate=0.01)
    best = tmp_path / "out" / "best"
    assert json.loads((best / "evaluation.json").read_text())["step"] == 1
    ours, last = (checkpoint.load_checkpoint(str(folder)) for folder in (best, tmp_path / "out"))
    assert ours.profile == last.profile
    last_weights = last.model.state_dict()
    assert all(torch.allclose(weight, last_weights[name], atol=1e-6) for name, weight in ours.model.state_dict().items())


def evaluate_as(monkeypatch: pytest.MonkeyPatch, *accuracies: float) -> None:
    """Let the evaluations have these results in `auto`."""
    results = iter(accuracies)

    def evaluate(self: HeldOutEvaluation, mode: Mode) -> list[float]:
        return [next(results) if mode is Mode.AUTO else 1.0, 9.0, 0.5]

    monkeypatch.setattr(HeldOutEvaluation, "_evaluate", evaluate)


def test_the_best_one_stays_and_so_does_that_of_a_step_that_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_as(monkeypatch, 0.5, 0.25)
    run(tmp_path)
    best = tmp_path / "out" / "best" / "evaluation.json"
    assert json.loads(best.read_text()) == {"step": 1, "accuracy": 0.5, "tokens": 9.0}
    # As if a run had been killed after step 3, before its checkpoint was saved. Its best is written over that of step 1, and is
    # as good as its result says.
    best.write_text(json.dumps({"step": 3, "accuracy": 1.0, "tokens": 9.0}))
    evaluate_as(monkeypatch, 0.125)
    run(tmp_path, steps=3)
    assert json.loads(best.read_text()) == {"step": 3, "accuracy": 1.0, "tokens": 9.0}


def test_a_best_one_that_was_not_written_whole_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_as(monkeypatch, 0.5)
    run(tmp_path, steps=1)
    best, part = tmp_path / "out" / "best", tmp_path / "out" / "best.part"
    before = {path.name: path.read_bytes() for path in best.iterdir()}

    def cut(*of: Any) -> None:
        write_current(*of)
        raise KeyboardInterrupt

    evaluate_as(monkeypatch, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "write_current", cut)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert {path.name: path.read_bytes() for path in best.iterdir()} == before
    evaluate_as(monkeypatch, 0.75)
    run(tmp_path)
    assert json.loads((best / "evaluation.json").read_text())["accuracy"] == 0.75
    assert not part.exists()
    # Killed between the two: the whole one is put in its place.
    best.rename(part)
    evaluate_as(monkeypatch, 0.25)
    run(tmp_path, steps=3)
    assert json.loads((best / "evaluation.json").read_text())["accuracy"] == 0.75


def test_what_only_observes_or_takes_memory_may_change(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "held_out.jsonl").rename(tmp_path / "moved.jsonl")
    other = EvaluationSettings(records=str(tmp_path / "moved.jsonl"), steps=2, batch=3)
    run(tmp_path, evaluation=other, vllm=VllmSettings(gpu_memory_utilization=0.5))
    with pytest.raises(AutoToolError, match=r"other settings \(held_out\)"):
        run(tmp_path, evaluation=other.model_copy(update={"count": 1}))


def test_the_best_is_the_most_accurate_then_the_shortest_then_the_first() -> None:
    first = Result(1, 0.5, 20)
    assert first.beats(None)
    assert Result(2, 0.6, 90).beats(first)
    assert Result(2, 0.5, 19).beats(first)
    assert not Result(2, 0.5, 20).beats(first)
    assert not Result(2, 0.4, 1).beats(first)


def test_records_that_are_trained_on_cannot_be_held_out(tmp_path: Path) -> None:
    file = tmp_path / "held_out.jsonl"
    files.write(file, [record.model_copy(update={"id": "other"}) for record in records(1)])
    settings = EvaluationSettings(records=str(file))
    base = scratch.make(SIZES, seed=0)
    with pytest.raises(AutoToolError, match=r"has 1 of the records that are trained on, such as other"):
        evaluation.read_held_out(settings, records(3), 2048, base)
    with pytest.raises(AutoToolError, match="no record whose prompt is short enough"):
        evaluation.read_held_out(settings, [], 8, base)
    assert len(evaluation.read_held_out(settings, [], 2048, base)) == 1
