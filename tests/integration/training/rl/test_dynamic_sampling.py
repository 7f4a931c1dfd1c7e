"""Dynamic sampling in a run: no group of equal rewards is left, and what adapts β_l is what it would be without."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from support.grpo import GROUP, ending_soon, make_trainer

from autotool_training.rl.grpo import AutoToolGRPOTrainer


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def half_dead(folder: Path, **changes: Any) -> AutoToolGRPOTrainer:
    """A trainer that rewards all answers to half of its prompts alike, and all others differently."""
    trainer = make_trainer(folder, **ending_soon(), **changes)
    data: Any = trainer.train_dataset
    dead, numbers, score = {tuple(data[at]["prompt"]) for at in range(3)}, count(), trainer.scorer.score

    def graded(prompt: Sequence[int], *of: Any) -> Any:
        return replace(score(prompt, *of), reward=0.0 if tuple(prompt) in dead else float(next(numbers) % 7))

    trainer.scorer.score = graded  # pyright: ignore[reportAttributeAccessIssue]
    return trainer


def test_groups_of_equal_rewards_are_replaced(tmp_path: Path) -> None:
    trainer = half_dead(tmp_path, max_num_gen_batches=20)
    data: Any = trainer.train_dataset
    batch = trainer._generate_and_score_completions([data[at] for at in (0, 1, 4) for _ in range(GROUP)])
    assert trainer._metrics["train"]["replaced_groups"] == [2]
    assert trainer._metrics["train"]["zero_variance_groups"] == [pytest.approx(2 / 3)]
    assert batch["advantages"].view(-1, GROUP).abs().amax(1).all()
    assert batch["drawn"].view(-1, GROUP)[:, 0].tolist() == [False, False, True]
    assert batch["num_items_in_batch"] == batch["completion_mask"].sum()
    # Tables of rollouts have those that were drawn first, as many as a step of this trainer has: two groups.
    assert [*trainer._logs["prompt"]] == [data[at]["prompt"] for at in (1, 4) for _ in range(GROUP)]
    prompts = [ids[mask.bool()].tolist() for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)]
    assert prompts[2 * GROUP] == data[4]["prompt"]
    assert all(prompt in [data[at]["prompt"] for at in (3, 4, 5)] for prompt in prompts)


@pytest.mark.parametrize("share", [False, True])
def test_beta_sees_the_rollouts_that_were_drawn_first(tmp_path: Path, share: bool) -> None:
    logged: list[dict[str, float]] = []
    controlled: list[list[float]] = []
    for batches in (1, 20):
        trainer = half_dead(tmp_path / str(batches), max_num_gen_batches=batches, share=share, max_steps=1)
        # A random model is as uncertain everywhere.
        trainer.model.get_output_embeddings().weight.data.mul_(8)
        trainer._constraint.controller.step = lambda gap_sum, count: controlled.append([gap_sum, count])
        trainer.train()
        logged.append(trainer.state.log_history[0])
    assert logged[1]["replaced_groups"] > 0
    names = [name for name in logged[0] if name.startswith("entropy/")] + ["accuracy", "reward", "thinking_rate"]
    assert {"entropy/long", "entropy/think"} <= {*names}
    assert [logged[1][name] for name in names] == pytest.approx([logged[0][name] for name in names], rel=1e-5)
    without, with_replacements = controlled
    assert without[1] > 0
    assert with_replacements == pytest.approx(without, rel=1e-5)


def test_a_whole_run_learns_from_replaced_groups(tmp_path: Path) -> None:
    trainer = half_dead(tmp_path, max_num_gen_batches=3, num_iterations=2)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert torch.tensor(losses).isfinite().all()
    assert trainer.state.global_step == 3
