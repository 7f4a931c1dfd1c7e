"""β_i, L_βl and the controller, by hand and against finite differences."""

import pytest
import torch

from autotool_core.errors import AutoToolError
from autotool_training.rl.beta import BetaController, beta_loss, gap_sums, mode_beta

ENTROPY = torch.tensor([0.1, 0.5, 0.2, 0.9], dtype=torch.float64)
LONG = torch.tensor([False, True, True, True])


def test_mode_beta_needs_the_mode_and_an_entropy_at_or_below_the_target() -> None:
    assert mode_beta(ENTROPY, LONG, 0.01, 0.5).tolist() == [0.0, 0.01, 0.01, 0.0]


def test_gap_sums_are_those_of_the_controlled() -> None:
    total, count = gap_sums(ENTROPY, LONG, 0.4).tolist()
    assert (total, count) == (pytest.approx(0.1 - 0.2 + 0.5), 3)


def test_beta_loss() -> None:
    # (0.01·0.1 - 0.01·0.2 + 0.01·0.5) / 3
    assert beta_loss(0.01, *gap_sums(ENTROPY, LONG, 0.4).tolist()) == pytest.approx(0.004 / 3)


def test_controller_steps_along_the_finite_difference_of_its_loss() -> None:
    gap_sum, count = gap_sums(ENTROPY, LONG, 0.4).tolist()
    width = 1e-4
    slope = (beta_loss(0.01 + width, gap_sum, count) - beta_loss(0.01 - width, gap_sum, count)) / (2 * width)
    controller = BetaController(0.01, lr=0.003, cap=0.02)
    controller.step(gap_sum, count)
    assert controller.value == pytest.approx(0.01 - 0.003 * slope, abs=1e-12)
    assert controller.value == pytest.approx(0.01 - 0.003 * 0.4 / 3)


@pytest.mark.parametrize(("entropy", "value"), [(0.2, 0.01 + 5e-4 * 0.3), (0.9, 0.01 - 5e-4 * 0.4)])
def test_beta_rises_below_the_target_and_falls_above_it(entropy: float, value: float) -> None:
    controller = BetaController(0.01, lr=5e-4, cap=0.02)
    controller.step(entropy - 0.5, 1)
    assert controller.value == pytest.approx(value)


def test_sums_of_ranks_give_the_step_of_the_whole() -> None:
    whole, parts = BetaController(0.01, 5e-4, 0.02), BetaController(0.01, 5e-4, 0.02)
    whole.step(*gap_sums(ENTROPY, LONG, 0.4).tolist())
    halves = gap_sums(ENTROPY[:1], LONG[:1], 0.4) + gap_sums(ENTROPY[1:], LONG[1:], 0.4)
    parts.step(*halves.tolist())
    assert parts.value == pytest.approx(whole.value, abs=1e-15)


@pytest.mark.parametrize(("gap", "value"), [(100.0, 0.0), (-100.0, 0.02)])
def test_beta_is_clamped(gap: float, value: float) -> None:
    controller = BetaController(0.01, lr=5e-4, cap=0.02)
    controller.step(gap, 1)
    assert controller.value == value


def test_without_a_long_trajectory_nothing_moves() -> None:
    controller = BetaController(0.01, lr=5e-4, cap=0.02)
    controller.step(0.0, 0.0)
    assert controller.value == 0.01


def test_a_constant_stays_even_where_it_has_no_target() -> None:
    controller = BetaController(0.01, lr=0.0, cap=0.02)
    controller.step(float("nan"), 3)
    assert controller.value == 0.01


def test_state_comes_back_exactly() -> None:
    controller = BetaController(1 / 3, lr=5e-4, cap=1)
    other = BetaController(0.0, lr=5e-4, cap=1)
    other.load_state_dict(controller.state_dict())
    assert other.value == controller.value


@pytest.mark.parametrize("state", [{}, {"beta": None}, {"beta": "0.1"}])
def test_a_checkpoint_without_beta_is_refused(state: dict[str, float]) -> None:
    with pytest.raises(AutoToolError, match="no beta"):
        BetaController(0.0, 1.0, 1.0).load_state_dict(state)
