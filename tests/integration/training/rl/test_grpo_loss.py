"""The equations of the objective inside TRL's loss, by hand and against finite differences."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from support.grpo import GROUP, STEPS, ending_soon, make_trainer

from autotool_core.errors import AutoToolError
from autotool_training.rl.entropy import token_entropy
from autotool_training.rl.grpo import AutoToolGRPOTrainer
from autotool_training.rl.settings import EntropyTargets, ObjectiveSettings

Aggregation = Literal["token-mean", "seq-mean-token-mean"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Hand:
    """A batch small enough to compute: six rollouts of at most three tokens, over a vocabulary of three.

    The last one was cut, so that its decision alone has loss.
    """

    ADVANTAGES = (0.5, -0.5, 0.75, 0.0, 0.0, -0.25)
    COUNTED = (True, True, True, True, False, True)
    WHOLE = (True, True, True, True, True, False)
    LENGTHS = (3, 2, 1, 3, 2, 1)
    # Ratios of new to old probability: below, within and above the clip range for both signs of the advantage.
    RATIOS = ((1.5, 1.0, 0.5), (0.5, 1.5, 1.0), (1.1, 1.0, 1.0), (1.0, 2.0, 0.1), (1.0, 0.9, 1.0), (1.2, 1.0, 1.0))

    def __init__(self, trainer: AutoToolGRPOTrainer) -> None:
        generator = torch.Generator().manual_seed(5)
        self.logits = torch.randn(6, 3, 3, dtype=torch.float64, generator=generator)
        self.chosen = torch.randint(3, (6, 3, 1), generator=generator)
        self.mask = (torch.arange(3) < torch.tensor(self.LENGTHS).unsqueeze(1)).int()
        self.ratios = torch.tensor(self.RATIOS, dtype=torch.float64)
        self.old = self.scores(self.logits)[0] - self.ratios.log()
        short, long = trainer._reader.decision.short, trainer._reader.decision.long
        self.inputs = {
            "prompt_ids": torch.zeros(6, 2, dtype=torch.long),
            "prompt_mask": torch.ones(6, 2, dtype=torch.long),
            "completion_ids": torch.tensor([[first, 7, 7] for first in (short, long, long, short, long, long)]),
            "completion_mask": self.mask,
            "advantages": torch.tensor(self.ADVANTAGES, dtype=torch.float64),
            "num_items_in_batch": self.mask.sum(),
            "old_per_token_logps": self.old,
            "whole": torch.tensor(self.WHOLE),
            "counted": torch.tensor(self.COUNTED),
            "drawn": torch.ones(6, dtype=torch.bool),
        }

    def scores(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.log_softmax(logits, -1).gather(-1, self.chosen).squeeze(-1), token_entropy(logits)

    def loss(
        self, trainer: AutoToolGRPOTrainer, logits: torch.Tensor, monkeypatch: pytest.MonkeyPatch, part: slice = slice(None)
    ) -> torch.Tensor:
        """The loss of a micro-batch; `num_items_in_batch`, a number, is that of the whole batch."""
        forward = "trl.trainer.grpo_trainer.GRPOTrainer._get_per_token_logps_and_entropies"
        scores = [values[part] for values in self.scores(logits)]
        monkeypatch.setattr(forward, lambda *_, **__: (*scores, None))
        inputs = {name: values[part] if values.dim() else values for name, values in self.inputs.items()}
        return trainer._compute_loss(trainer.model, inputs)

    def entropies(self) -> list[float]:
        each = self.scores(self.logits)[1] * self.mask
        return [total / length for total, length in zip(each.sum(1).tolist(), self.LENGTHS, strict=True)]

    def policy(self) -> float:
        tokens: list[float] = []
        for advantage, length, ratios in zip(self.ADVANTAGES, self.LENGTHS, self.RATIOS, strict=True):
            tokens += [min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage) for ratio in ratios[:length]]
        return -sum(tokens) / len(tokens)


def hand_trainer(folder: Path, hs: float, hl: float, parts: int = 1, **changes: Any) -> AutoToolGRPOTrainer:
    targets = EntropyTargets(short=hs, long=hl, shared=0)
    betas: dict[str, Any] = {"short_beta": 0.3, "long_beta": 0.2, "beta_cap": 0.4, "beta_lr": 0.01, "beta_step": "absolute"}
    settings = ObjectiveSettings(targets=targets, **betas, **changes)
    trainer = make_trainer(folder, settings=settings, gradient_accumulation_steps=parts)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = parts
    return trainer


def middle(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean"])
def test_the_loss_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aggregation: Aggregation) -> None:
    entropies = Hand(hand_trainer(tmp_path, 9, 9)).entropies()
    # Both short ones are below their target, of the two whole and counted long ones the lower.
    trainer = hand_trainer(tmp_path, max(entropies), middle(entropies[1:3]), entropy_aggregation=aggregation)
    hand = Hand(trainer)
    lengths = hand.LENGTHS if aggregation == "token-mean" else (1,) * 6
    lower = 1 if entropies[1] < entropies[2] else 2
    betas = [0.3, *(0.2 * (at == lower) for at in (1, 2)), 0.3, 0.0, 0.0]
    term = sum(map(math.prod, zip(betas, entropies, lengths, strict=True))) / sum(lengths)
    loss = hand.loss(trainer, hand.logits.clone().requires_grad_(), monkeypatch)
    assert loss.item() == pytest.approx(hand.policy() - term, abs=1e-12)
    # β_l stays where the whole and counted long ones are at their target on average, and moves where they are not.
    assert trainer._constraint.controller.value == pytest.approx(0.2, abs=1e-12)
    hand.loss(trainer, (3 * hand.logits).requires_grad_(), monkeypatch)
    sharper = middle((hand.scores(3 * hand.logits)[1] * hand.mask).sum(1)[1:3].div(torch.tensor([2, 1])).tolist())
    assert trainer._constraint.controller.value == pytest.approx(0.2 - 0.01 * (sharper - middle(entropies[1:3])), abs=1e-12)


@pytest.mark.parametrize("target", [0.0, 9.0])
def test_the_gradient_against_finite_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: float) -> None:
    # Without the entropy term the policy term is seen alone.
    trainer = hand_trainer(tmp_path, target, target)
    hand = Hand(trainer)
    controller = trainer._constraint.controller
    logits = hand.logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(hand.loss(trainer, logits, monkeypatch), logits)
    numeric = torch.zeros_like(gradient)
    for at in range(logits.numel()):
        step = torch.zeros(logits.numel(), dtype=torch.float64)
        step[at] = 1e-6
        ends: list[float] = []
        for side in (step, -step):
            controller.value = 0.2
            moved = (hand.logits + side.view_as(logits)).requires_grad_()
            ends.append(hand.loss(trainer, moved, monkeypatch).item())
        numeric.view(-1)[at] = (ends[0] - ends[1]) / 2e-6
    torch.testing.assert_close(gradient, numeric, atol=1e-8, rtol=1e-6)
    assert not gradient[4].any()
    assert not gradient[hand.mask == 0].any()


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean"])
@pytest.mark.parametrize(("parts", "ranks"), [(2, 1), (1, 2)])
def test_micro_batches_and_ranks_have_the_gradient_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aggregation: Aggregation, parts: int, ranks: int
) -> None:
    trainer = hand_trainer(tmp_path / "whole", 9, 9, entropy_aggregation=aggregation)
    hand = Hand(trainer)
    logits = hand.logits.clone().requires_grad_()
    (whole,) = torch.autograd.grad(hand.loss(trainer, logits, monkeypatch), logits)
    split = hand_trainer(tmp_path / "split", 9, 9, parts, entropy_aggregation=aggregation)
    monkeypatch.setattr(type(split.accelerator), "num_processes", ranks)
    # Gradients of micro-batches are added up, and of those of ranks there is the mean.
    gradient = torch.zeros_like(whole)
    for part in (slice(3), slice(3, 6)):
        split._constraint.controller.value = 0.2
        gradient += torch.autograd.grad(hand.loss(split, logits, monkeypatch, part), logits)[0] / ranks
    torch.testing.assert_close(gradient, whole)


def test_micro_batches_update_beta_once(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, **ending_soon())
    steps: list[tuple[float, float]] = []
    step = trainer._constraint.controller.step

    def recorded(gap_sum: float, count: float) -> None:
        steps.append((gap_sum, count))
        step(gap_sum, count)

    trainer._constraint.controller.step = recorded
    trainer.train()
    assert len(steps) == STEPS
    assert max(count for _, count in steps) > GROUP / 2


def test_a_loss_that_is_no_number_stops_before_it_reaches_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tmp_path, **ending_soon())
    forward = "trl.trainer.grpo_trainer.GRPOTrainer._get_per_token_logps_and_entropies"

    def broken(self: Any, model: Any, ids: torch.Tensor, mask: torch.Tensor, width: int, **_: Any) -> Any:
        nothing = torch.full((ids.size(0), width), torch.nan, requires_grad=True)
        return nothing * 1, nothing * 1, None

    monkeypatch.setattr(forward, broken)
    with pytest.raises(AutoToolError, match="not a number"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert trainer._constraint.controller.value == 0.005
