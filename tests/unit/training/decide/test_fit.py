"""The logistic regression of the decision, on made-up log-probabilities."""

import pytest
import torch
from torch import Tensor

from autotool_training.decide.fit import FOLDS, PENALTIES, _folds, cross_validate, fit, quality


def made_up(number: int, tokens: int = 6, strength: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return log-probabilities, and labels whose log-odds are `strength` times the difference of the third and fourth token."""
    drawn = torch.Generator().manual_seed(seed)
    logprobs = torch.randn(number, tokens, generator=drawn, dtype=torch.float64).log_softmax(-1)
    odds = strength * (logprobs[:, 2] - logprobs[:, 3]) - 0.5
    return logprobs, torch.rand(number, generator=drawn, dtype=torch.float64) < odds.sigmoid()


def test_the_weights_and_the_intercept_are_found() -> None:
    made = fit(*made_up(20_000), penalty=1e-6)
    assert made.weights.tolist() == pytest.approx([0, 0, 2, -2, 0, 0], abs=0.15)
    assert made.intercept == pytest.approx(-0.5, abs=0.1)


def test_a_constant_in_the_log_probabilities_changes_nothing() -> None:
    logprobs, is_long = made_up(200)
    made = fit(logprobs, is_long, penalty=0.01)
    assert float(made.weights.sum()) == pytest.approx(0.0, abs=1e-9)
    shifted = logprobs + torch.arange(200, dtype=torch.float64)[:, None]
    assert torch.allclose(made.log_odds(shifted), made.log_odds(logprobs), atol=1e-6)
    assert torch.allclose(fit(shifted, is_long, penalty=0.01).weights, made.weights, atol=1e-4)


def test_cross_validation_is_about_what_was_not_fitted() -> None:
    logprobs, is_long = made_up(400, tokens=100)
    penalty, found = cross_validate(logprobs, is_long, seed=0)
    noise = is_long[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    noise_penalty, chance = cross_validate(logprobs, noise, seed=0)
    assert found.auc > 0.75
    assert chance.auc == pytest.approx(0.5, abs=0.1)
    assert quality(fit(logprobs, noise, PENALTIES[0]).log_odds(logprobs), noise).auc > 0.75  # what was fitted
    assert (penalty, noise_penalty) != (PENALTIES[0], PENALTIES[0])


def test_each_part_has_its_share_of_both_modes() -> None:
    is_long = torch.arange(53) < 11
    folds = torch.stack([*_folds(is_long, 3)])
    assert folds.shape == (FOLDS, 53)
    assert folds.sum(0).tolist() == [1] * 53
    assert sorted(int((fold & is_long).sum()) for fold in folds) == [2, 2, 2, 2, 3]
