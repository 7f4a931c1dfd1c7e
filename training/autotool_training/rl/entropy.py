"""H_i, the entropy of both controller and loss: full vocabulary, temperature 1, nats, mean over the response's tokens."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from autotool_training.rl.settings import EntropyTargets

# A row of 150,000 float32 logits is 0.6 MB, and log-softmax needs three of them.
_CHUNK_ROWS = 256


def sequence_entropy(token_entropy: Tensor, mask: Tensor) -> Tensor:
    """Return H_i (B,): the mean of the token entropies (B, T) where `mask` (B, T) is 1; 0 for a row without any."""
    mask = mask.to(token_entropy.dtype)
    return (token_entropy * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def token_entropy(logits: Tensor) -> Tensor:
    """Return the entropy (...) of logits (..., V), in float32 or better. It takes chunks of rows, to copy few logits."""
    rows = logits.reshape(-1, logits.size(-1))
    return torch.cat([_entropy(chunk) for chunk in rows.split(_CHUNK_ROWS)]).view(logits.shape[:-1])


def _entropy(logits: Tensor) -> Tensor:
    log_p = torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return -(log_p.exp() * log_p).sum(-1)


@torch.no_grad()
def measure(model: torch.nn.Module, rollouts: Iterable[tuple[Sequence[int], Sequence[int]]]) -> Tensor:
    """Return H_i (N,), on the CPU, of pairs of prompt and response ids under a causal model of transformers."""
    device = next(model.parameters()).device
    entropies: list[Tensor] = []
    for prompt, response in rollouts:
        ids = torch.tensor([[*prompt, *response]], device=device)
        # Logits predict the next token, so that those of the last token are not used.
        logits = model(input_ids=ids, logits_to_keep=len(response) + 1).logits[:, :-1]
        entropies.append(token_entropy(logits).mean())
    return torch.stack(entropies).cpu()


def entropy_targets(entropy: Tensor, short: Tensor, percentile: float = 50) -> EntropyTargets:
    """Return percentiles of H_i (N,) measured after SFT: of the short trajectories, of the long ones, of all.

    `short` is (N,) of bool. Short JSON has far lower entropy than prose, hence a target for each mode. Raises ValueError if
    a mode has no trajectory.
    """
    if not short.any() or short.all():
        raise ValueError("Entropy targets need trajectories of both modes: generate in mode=short and in mode=long.")
    quantile = percentile / 100
    short_target, long_target, shared = (
        float(torch.quantile(part.double(), quantile)) for part in (entropy[short], entropy[~short], entropy)
    )
    return EntropyTargets(short=short_target, long=long_target, shared=shared)
