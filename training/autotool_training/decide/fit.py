"""Logistic regression of the decision: one token of loss a record, over the log-probabilities of the tokens that are read."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from autotool_core.decision import auc

PENALTIES = tuple(10.0**power for power in range(-4, 2))
"""Weights of half the squared norm of the head's weights in the loss, of which cross-validation takes one."""
FOLDS = 5
MAX_STEPS = 50
MAX_CHANGE = 4.0
SMALL = 1e-8
"""A step that changes no weight by more is the last one."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A linear readout."""

    weights: Tensor
    """Shape (tokens,), float64; their sum is 0."""
    intercept: float

    def log_odds(self, logprobs: Tensor) -> Tensor:
        """Return the log-odds of long: (records, tokens) → (records,)."""
        return logprobs @ self.weights + self.intercept


@dataclass(frozen=True, slots=True)
class Quality:
    """How well log-odds of long say which records are long."""

    auc: float
    """The share of pairs of a long and a short record in which the long one has the higher log-odds."""
    loss: float
    """Mean cross-entropy of the decision, in nats."""


def quality(log_odds: Tensor, is_long: Tensor) -> Quality:
    """Return the quality of log-odds, (records,), for records of both modes."""
    loss = binary_cross_entropy_with_logits(log_odds, is_long.double())
    return Quality(auc(log_odds.tolist(), is_long.tolist()), float(loss))


def fit(logprobs: Tensor, is_long: Tensor, penalty: float) -> Fit:
    """Return the readout of the least penalised cross-entropy: (records, tokens) and (records,), both modes among them.

    Newton's method, whose steps change no log-odds by more than MAX_CHANGE, so that none goes too far.
    """
    # Without each row's mean a constant falls out, so that the weights sum to 0.
    rows = logprobs - logprobs.mean(1, keepdim=True)
    centre = rows.mean(0)
    inputs = torch.cat([rows - centre, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
    ridge = torch.full((inputs.shape[1],), penalty, dtype=torch.float64)
    ridge[-1] = 0.0
    solution = torch.zeros_like(ridge)
    for _ in range(MAX_STEPS):
        p_long = (inputs @ solution).sigmoid()
        gradient = inputs.T @ (p_long - is_long.double()) / len(inputs) + ridge * solution
        curvature = (inputs.T * (p_long * (1 - p_long))) @ inputs / len(inputs) + ridge.diag()
        step = torch.linalg.solve(curvature, gradient)
        step = step * min(1.0, MAX_CHANGE / float((inputs @ step).abs().max().clamp(min=SMALL)))
        solution = solution - step
        if float(step.abs().max()) < SMALL:
            break
    weights = solution[:-1] - solution[:-1].mean()
    return Fit(weights, float(solution[-1] - centre @ weights))


def cross_validate(logprobs: Tensor, is_long: Tensor, seed: int) -> tuple[float, Quality]:
    """Return the penalty whose readouts say best what they were not fitted to, and the quality of these."""
    folds = [*_folds(is_long, seed)]
    qualities: dict[float, Quality] = {}
    for penalty in PENALTIES:
        log_odds = torch.empty(len(logprobs), dtype=torch.float64)
        for held in folds:
            log_odds[held] = fit(logprobs[~held], is_long[~held], penalty).log_odds(logprobs[held])
        qualities[penalty] = quality(log_odds, is_long)
    best = min(qualities, key=lambda penalty: qualities[penalty].loss)
    return best, qualities[best]


def _folds(is_long: Tensor, seed: int) -> Iterator[Tensor]:
    """Yield masks of the records, (records,), each with its share of both modes."""
    drawn = torch.randperm(len(is_long), generator=torch.Generator().manual_seed(seed))
    order = torch.cat([drawn[is_long[drawn]], drawn[~is_long[drawn]]])
    fold = torch.empty(len(is_long), dtype=torch.long)
    fold[order] = torch.arange(len(is_long)) % FOLDS
    return (fold == number for number in range(FOLDS))
