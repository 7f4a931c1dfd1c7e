"""Torch's Muon with its iteration in float32, a private name of torch 2.13.

Torch takes bfloat16, which processors without it emulate: 1.4 s a step of the tiny base against 0.06 s
(docs/experiments/2026-11-25-bfloat16-emulated.md).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Muon, _muon


def muon(matrices: Iterable[Tensor], **options: Any) -> Muon:
    """`torch.optim.Muon`, whose steps are orthogonal to float32's precision."""
    module: Any = _muon
    module._zeropower_via_newtonschulz = orthogonal
    return Muon(matrices, **options)


def orthogonal(gradient: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """The matrix (A, B) with all singular values near 1, by Newton-Schulz (github.com/KellerJordan/Muon)."""
    a, b, c = coefficients
    is_tall = gradient.size(0) > gradient.size(1)
    matrix = (gradient.T if is_tall else gradient).float()
    matrix = matrix / matrix.norm().clamp(min=eps)
    for _ in range(steps):
        gram = matrix @ matrix.T
        matrix = torch.addmm(matrix, torch.addmm(gram, gram, gram, beta=b, alpha=c), matrix, beta=a)
    return matrix.T if is_tall else matrix
