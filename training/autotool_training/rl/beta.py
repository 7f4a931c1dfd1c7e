"""The betas of the entropy constraints: the beta of each trajectory, and the controller of the adaptive one.

    β_i   = β_s·m_i·1{H_i ≤ H_s} + β_l·(1-m_i)·1{H_i ≤ H_l}
    L_βl  = Σ (1-m_i)·β_l·(H_i - H_l) / Σ (1-m_i)

Descending L_βl raises β_l while long trajectories lie below their target on average, and lowers it while they lie above.
With `beta_step = "relative"` H_i and H_l are in units of H_l and a step is in units of the cap, so that one learning rate fits
entropies of any size: those of calls are a hundredth of those of prose. The mean gap is then clamped to [-1, 1]. It cannot be
lower anyway, but one answer of high entropy could make it many times as high, and undo dozens of steps up in one step down.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor

from autotool_core.errors import AutoToolError

_Number = TypeVar("_Number", float, Tensor)


def mode_beta(entropy: Tensor, mode: Tensor, beta: float, target: float) -> Tensor:
    """Return one mode's half of β_i (B,): `beta` if the trajectory is of the mode (B,) and H_i (B,) is at most the target."""
    return beta * (mode & (entropy <= target)).to(entropy.dtype)


def gap_sums(entropy: Tensor, controlled: Tensor, target: float) -> Tensor:
    """Return Σ (H_i - H_l), in any one unit, and the count over the controlled trajectories (2,), which ranks add up."""
    weight = controlled.to(entropy.dtype)
    return torch.stack([((entropy.detach() - target) * weight).sum(), weight.sum()])


def beta_loss(beta: _Number, gap_sum: float, count: float) -> _Number:
    """Return L_βl from the sums of `gap_sums`."""
    return beta * (gap_sum / count)


class BetaController:
    """Holds β_l: one clamped gradient step for each optimiser step; constant if `lr` is 0.

    `max_gap` is the largest mean gap, above or below the target, in the unit of the gaps.
    """

    def __init__(self, value: float, lr: float, cap: float, max_gap: float = math.inf) -> None:
        self.value = value
        self._lr = lr
        self._cap = cap
        self._max_gap = max_gap

    def step(self, gap_sum: float, count: float) -> None:
        """Descend L_βl by the sums of a whole optimiser step, over all ranks. Without a long trajectory β_l stays."""
        if count == 0 or self._lr == 0:
            return
        limit = self._max_gap * count
        beta = torch.tensor(self.value, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(beta_loss(beta, min(max(gap_sum, -limit), limit), count), beta)
        self.value = min(max(self.value - self._lr * gradient.item(), 0.0), self._cap)

    def state_dict(self) -> dict[str, float]:
        """Return the state for a checkpoint."""
        return {"beta": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore a checkpoint's value. Raises AutoToolError if it holds none."""
        if not isinstance(value := state.get("beta"), float):
            raise AutoToolError("The checkpoint holds no beta to resume from: start from an earlier one.")
        self.value = value
