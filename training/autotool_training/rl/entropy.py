"""H_i, the one entropy of controller and loss: full vocabulary, temperature 1, nats, mean over the response's tokens."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from autotool_training.rl.settings import EntropyTargets

# A row of 150,000 float32 logits is 0.6 MB, and log-softmax needs three of them.
_CHUNK_ROWS = 256


def sequence_entropy(token_entropy: Tensor, mask: Tensor) -> Tensor:
    """H_i (B,): the mean of the token entropies (B, T) where `mask` (B, T) is 1; 0 where it is nowhere."""
    mask = mask.to(token_entropy.dtype)
    return (token_entropy * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def token_entropy(logits: Tensor) -> Tensor:
    """Entropy (...) of logits (..., V), in float32 or better; a few rows at a time, so that no copy of the logits is made."""
    rows = logits.reshape(-1, logits.size(-1))
    return torch.cat([_entropy(chunk) for chunk in rows.split(_CHUNK_ROWS)]).view(logits.shape[:-1])


def _entropy(logits: Tensor) -> Tensor:
    log_p = torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return -(log_p.exp() * log_p).sum(-1)


@torch.no_grad()
def measure(model: torch.nn.Module, rollouts: Iterable[tuple[Sequence[int], Sequence[int]]]) -> Tensor:
    """H_i (N,) of pairs of prompt and response ids under a transformers causal model, on the CPU."""
    device = next(model.parameters()).device
    entropies: list[Tensor] = []
    for prompt, response in rollouts:
        ids = torch.tensor([[*prompt, *response]], device=device)
        # The logits before a token predict it: those of the last token predict nothing here.
        logits = model(input_ids=ids, logits_to_keep=len(response) + 1).logits[:, :-1]
        entropies.append(token_entropy(logits).mean())
    return torch.stack(entropies).cpu()


def entropy_targets(entropy: Tensor, short: Tensor, percentile: float = 50) -> EntropyTargets:
    """Percentiles of H_i (N,) measured after SFT: of the short ones, of the long ones, of all.

    `short` (N,) of bool. Short JSON sits far lower than prose, hence a target for each mode. Raises ValueError where
    a mode has no trajectory.
    """
    if not short.any() or short.all():
        raise ValueError("Entropy targets need trajectories of both modes: generate in mode=short and in mode=long.")
    quantile = percentile / 100
    short_target, long_target, shared = (
        float(torch.quantile(part.double(), quantile)) for part in (entropy[short], entropy[~short], entropy)
    )
    return EntropyTargets(short=short_target, long=long_target, shared=shared)
