"""H_i, the entropy of both controller and loss: full vocabulary, temperature 1, nats, mean over the response's tokens."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
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
def measure_tokens(
    model: torch.nn.Module, rollouts: Iterable[tuple[Sequence[int], Sequence[int]]], decisions: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, of pairs of prompt and response ids, the entropies (T,) of the response's tokens and p_i (a scalar), on the CPU.

    The model is a causal one of transformers. p_i is the probability of the response's first token among the `decisions`, token
    ids, of which it is one.
    """
    device = next(model.parameters()).device
    for prompt, response in rollouts:
        ids = torch.tensor([[*prompt, *response]], device=device)
        # Logits predict the next token, so that those of the last token are not used.
        logits = model(input_ids=ids, logits_to_keep=len(response) + 1).logits[:, :-1]
        odds = torch.softmax(logits[0, 0, [*decisions]].double(), -1)[[*decisions].index(response[0])]
        yield token_entropy(logits)[0].cpu(), odds.cpu()


def measure(
    model: torch.nn.Module, rollouts: Iterable[tuple[Sequence[int], Sequence[int]]], decisions: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return H_i (N,), the mean over the response's tokens, and p_i (N,) of what `measure_tokens` measures."""
    entropies: list[Tensor] = []
    odds: list[Tensor] = []
    for entropy, probability in measure_tokens(model, rollouts, decisions):
        entropies.append(entropy.mean())
        odds.append(probability)
    return torch.stack(entropies), torch.stack(odds)


def entropy_targets(
    entropy: Tensor, short: Tensor, weight: Tensor | None = None, percentile: float | Literal["mean"] = "mean"
) -> EntropyTargets:
    """Return the weighted means of H_i (N,) measured after SFT: of the short trajectories, of the long ones, of all.

    `short` is (N,) of bool; `weight` (N,) is positive, and None weighs all alike. With a number as `percentile` it is that
    percentile in place of the mean. Short JSON has far lower entropy than prose, hence a target for each mode. Raises
    ValueError if a mode has no trajectory.
    """
    if not short.any() or short.all():
        raise ValueError("Entropy targets need trajectories of both modes: generate in mode=short and in mode=long.")
    weights = torch.ones_like(entropy) if weight is None else weight
    parts = (short, ~short, torch.ones_like(short))
    targets = [_summary(entropy[part].double(), weights[part].double(), percentile) for part in parts]
    return EntropyTargets(short=targets[0], long=targets[1], shared=targets[2])


def _summary(values: Tensor, weights: Tensor, percentile: float | Literal["mean"]) -> float:
    if percentile == "mean":
        return float((values * weights).sum() / weights.sum())
    order = values.argsort()
    values, weights = values[order], weights[order]
    # Each value lies in the middle of its weight; equal weights give the usual interpolated percentile.
    middles = weights.cumsum(0) - weights / 2
    span = float(middles[-1] - middles[0])
    return float(np.interp(float(middles[0]) + span * percentile / 100, middles.numpy(), values.numpy()))
