"""The metrics of a run, per mode: of the rollouts when they are made, of the objective at each optimiser step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autotool_core.modes import ResolvedMode
from autotool_training.rl.reward import Scored


def rollout_facts(scored: Sequence[Scored], device: torch.device) -> Tensor:
    """Return one row for each rollout (N, 7): reward, right, length, tokens of the think block, short, long, malformed.

    Ranks can gather it.
    """
    rows = [_facts(rollout) for rollout in scored]
    return torch.tensor(rows, dtype=torch.float32, device=device)


def _facts(rollout: Scored) -> tuple[float, ...]:
    mode, fault = rollout.trajectory.mode, rollout.trajectory.fault
    is_short, is_long = mode is ResolvedMode.SHORT, mode is ResolvedMode.LONG
    lengths = rollout.length, rollout.think_length
    return rollout.reward, rollout.right, *lengths, is_short, is_long, fault is not None


def completion_columns(scored: Sequence[Scored]) -> dict[str, list[str | bool | int]]:
    """Return the columns that a table of rollouts has besides TRL's: mode, right, fault, tokens."""
    return {
        "mode": [str(one.trajectory.mode or "none") for one in scored],
        "right": [one.right for one in scored],
        "fault": [str(one.trajectory.fault or "") for one in scored],
        "tokens": [one.length for one in scored],
    }


def rollout_metrics(facts: Tensor, live: Tensor) -> dict[str, float]:
    """Return reward, accuracy and length in tokens per mode, thinking rate, and shares of malformed rollouts and dead groups.

    `think_tokens` are those of the think blocks of long rollouts, and `call_tokens` per mode all others.
    `facts` (N, 7) is of all ranks, `live` (N,) from `objective.live_groups`. A mode that did not occur is left out.
    """
    _, right, length, thinking, short, long, malformed = facts.unbind(1)
    metrics = {
        "accuracy": right.mean().item(),
        "thinking_rate": long.mean().item(),
        "malformed": malformed.mean().item(),
        "zero_variance_groups": 1 - live.float().mean().item(),
    }
    for mode, chosen in ((ResolvedMode.SHORT, short.bool()), (ResolvedMode.LONG, long.bool())):
        if chosen.any():
            means = facts[chosen, :3].mean(0).tolist()
            metrics |= {f"{name}/{mode}": mean for name, mean in zip(("reward", "accuracy", "length"), means, strict=True)}
            metrics[f"call_tokens/{mode}"] = (length - thinking)[chosen].mean().item()
    if long.any():
        metrics["think_tokens"] = thinking[long.bool()].mean().item()
    return metrics


def entropy_sums(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return Σ H_i and the count of each part (2·parts,), which ranks and micro-batches add up.

    A part is H_i (B,) with the mask (B,) of its trajectories: of short ones, of long ones, and of the think blocks of these.
    """
    weighted = [(entropy.detach(), chosen.to(entropy.dtype)) for entropy, chosen in parts]
    return torch.stack([value for entropy, weight in weighted for value in ((entropy * weight).sum(), weight.sum())])


def entropy_metrics(sums: Sequence[float]) -> dict[str, float]:
    """Return the mean H_i, in nats, of whole responses by mode and of think blocks alone, from `entropy_sums`.

    What did not occur is left out.
    """
    parts = zip((ResolvedMode.SHORT, ResolvedMode.LONG, "think"), sums[::2], sums[1::2], strict=True)
    return {f"entropy/{name}": total / count for name, total, count in parts if count}


def logp_gap_sums(logps: Tensor, sampled: Tensor | None, mask: Tensor) -> Tensor:
    """Return Σ |difference| of the trainer's and the decoder's log-probabilities (B, T), where known, and the count (2,)."""
    if sampled is None:
        return logps.new_zeros(2)
    known = mask.bool() & ~sampled.isnan()
    gaps = (logps.detach() - sampled)[known].abs()
    return torch.stack([gaps.sum(), known.sum().to(gaps.dtype)])


def gap_metrics(total: float, count: float) -> dict[str, float]:
    """Return the mean gap of log-probabilities in nats a token, from `logp_gap_sums`; left out if nothing is known.

    It is what the decoder's precision, kernels and merged weights make of the same model: rollouts are drawn from a policy
    that is off by so much.
    """
    return {"logp_gap": total / count} if count else {}


def gradient_l1(loss: Tensor, tokens: Tensor) -> Tensor:
    """Return Σ |∂loss/∂tokens| for values of tokens (B, T) that the loss was computed from; their own graph is kept."""
    return torch.autograd.grad(loss, tokens, retain_graph=True)[0].abs().sum()


def share_metrics(policy: float, entropy: float) -> dict[str, float]:
    """Return the entropy term's share of the weight on tokens: its L1 norm over the sum of both terms' norms.

    The policy loss has a gradient on log-probabilities and the entropy term on entropies, both in nats. The share compares
    these weights. It is none of the parameters' gradient, which would need a second backward pass: an entropy's gradient is
    small where the model is certain. Left out if both are 0.
    """
    return {"entropy_weight_share": entropy / (policy + entropy)} if policy + entropy else {}
