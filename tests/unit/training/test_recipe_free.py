"""Tests of the measurements of the graded-free runs, with a tiny random model."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import SIZES

import graded_free_measure as measure
from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS, generate
from autotool_core.modes import ResolvedMode
from autotool_training import scratch
from autotool_training.common.checkpoint import load_checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.data.sources import graded

LISTS = ("right_long", "right_short", "entropy_long", "entropy_short", "entropy_think", "sampled_right_long", "think_tokens")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run without steps."""
    folder = tmp_path_factory.mktemp("run") / "sft-0"
    scratch.make(SIZES, seed=0).save(folder)
    return folder


def test_every_task_has_its_figures(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_TOKENS", "BATCH"):
        monkeypatch.setattr(measure, name, 12)
    monkeypatch.setattr(measure, "TASKS", dict.fromkeys(LEVELS, 1))
    for _ in range(2):
        measure.main("dev", str(run))
    (line,) = (json.loads(text) for text in (run / "measured-dev.jsonl").read_text().splitlines())
    assert line["step"] == 0
    assert {len(line[name]) for name in (*LISTS, "p_long", "level")} == {len(LEVELS)}
    assert line["level"] == list(LEVELS)
    assert all(0 < share < 1 for share in line["p_long"])
    # Nothing that a random model writes ends within so few tokens, and no answer to a task of the train split is asked for.
    assert set(line["entropy_long"]) == set(line["entropy_think"]) == {None}
    assert "cut 100.0 %" in measure.summary(line)
    assert graded.record(next(generate("dev", 1))).id.startswith("graded/dev")


def test_the_entropy_of_a_think_block_leaves_out_the_markers_and_the_call(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def positions(_model: object, rollouts: Sequence[tuple[list[int], list[int]]], _: object) -> Iterator[tuple[Any, Any]]:
        """Yield each token's position as its entropy."""
        yield from ((torch.arange(len(answer)).float(), torch.tensor(0.5)) for _prompt, answer in rollouts)

    monkeypatch.setattr(measure, "measure_tokens", positions)
    checkpoint = load_checkpoint(str(run))
    writer = ExampleWriter(checkpoint.tokenizer, checkpoint.profile, checkpoint.tokenizer.eos_token_id)
    record = graded.record(next(generate("dev", 1)))
    examples = [writer.example(record, mode) for mode in (ResolvedMode.LONG, ResolvedMode.SHORT)]
    rollouts = [([*example.prompt_ids], [*example.response_ids]) for example in examples]
    whole, think, _ = measure.Answerer(checkpoint).entropies(rollouts)
    assert whole == [(len(answer) - 1) / 2 for _, answer in rollouts]
    # The block begins behind the decision token, which is the first one.
    close = checkpoint.tokenizer.convert_ids_to_tokens(rollouts[0][1]).index("</think>")
    assert think == [close / 2, None]


def test_a_run_of_rl_has_its_start_and_every_fiftieth_step(run: Path, tmp_path: Path) -> None:
    held = {"stage": "rl", "base": str(run)}
    (tmp_path / "run.json").write_text(json.dumps(held))
    for step in (10, 50, 100):
        (tmp_path / "steps" / f"checkpoint-{step}").mkdir(parents=True)
    steps = dict(measure.checkpoints(tmp_path))
    assert list(steps) == [0, 50, 100]
    assert steps[0] is None
    with pytest.raises(AutoToolError, match="is not measured: do that first"):
        measure.start(tmp_path, "test")
