"""Patch of torch 2.13 (private name `torch.optim._muon._zeropower_via_newtonschulz`): Muon iterates in float32.

Reason: torch iterates in bfloat16, which processors without it emulate: 1.4 s a step of the tiny base against 0.06 s
(docs/experiments/2026-11-25-bfloat16-emulated.md).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Muon, _muon


def muon(matrices: Iterable[Tensor], **options: Any) -> Muon:
    """Return `torch.optim.Muon` with its iteration patched, for all instances in this process."""
    module: Any = _muon
    module._zeropower_via_newtonschulz = orthogonalize
    return Muon(matrices, **options)


def orthogonalize(gradient: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Return the matrix (A, B) with all singular values near 1, by Newton-Schulz (github.com/KellerJordan/Muon)."""
    a, b, c = coefficients
    is_tall = gradient.size(0) > gradient.size(1)
    matrix = (gradient.T if is_tall else gradient).float()
    matrix = matrix / matrix.norm().clamp(min=eps)
    for _ in range(steps):
        gram = matrix @ matrix.T
        matrix = torch.addmm(matrix, torch.addmm(gram, gram, gram, beta=b, alpha=c), matrix, beta=a)
    return matrix.T if is_tall else matrix
