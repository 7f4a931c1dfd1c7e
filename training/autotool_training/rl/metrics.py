"""What a run logs, per mode: of the rollouts when they are made, of the objective once an optimiser step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autotool_core.modes import ResolvedMode
from autotool_training.rl.reward import Scored


def rollout_facts(scored: Sequence[Scored], device: torch.device) -> Tensor:
    """One row a rollout (N, 6): reward, right, length, short, long, malformed. Ranks can gather it."""
    rows = [_facts(rollout) for rollout in scored]
    return torch.tensor(rows, dtype=torch.float32, device=device)


def _facts(rollout: Scored) -> tuple[float, ...]:
    mode, fault = rollout.trajectory.mode, rollout.trajectory.fault
    is_short, is_long = mode is ResolvedMode.SHORT, mode is ResolvedMode.LONG
    return rollout.reward, rollout.right, rollout.length, is_short, is_long, fault is not None


def rollout_metrics(facts: Tensor, live: Tensor) -> dict[str, float]:
    """Reward, accuracy and length in tokens per mode; thinking rate; shares of malformed rollouts and of dead groups.

    `facts` (N, 6) of all ranks, `live` (N,) as `objective.live_groups` gives it. A mode that did not occur is left out.
    """
    _, right, _, short, long, malformed = facts.unbind(1)
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
    return metrics


def entropy_sums(entropy: Tensor, modes: Sequence[Tensor]) -> Tensor:
    """Σ H_i and count of each mode (4,), which ranks and micro-batches add up.

    `entropy` (B,), `modes`: masks (B,) of the short and the long ones.
    """
    weights = [mode.to(entropy.dtype) for mode in modes]
    return torch.stack([part for weight in weights for part in ((entropy.detach() * weight).sum(), weight.sum())])


def entropy_metrics(sums: Sequence[float]) -> dict[str, float]:
    """Mean H_i per mode, in nats, from `entropy_sums`. A mode that did not occur is left out."""
    modes = ((ResolvedMode.SHORT, *sums[:2]), (ResolvedMode.LONG, *sums[2:]))
    return {f"entropy/{mode}": total / count for mode, total, count in modes if count}


def pull(loss: Tensor, tokens: Tensor) -> Tensor:
    """Σ |∂loss/∂tokens|, for tokens (B, T) that the loss was computed from; the graph behind them is left alone."""
    return torch.autograd.grad(loss, tokens, retain_graph=True)[0].abs().sum()


def share_metrics(policy: float, entropy: float) -> dict[str, float]:
    """Gradient share of the entropy term: its pull at the tokens' entropies over both halves' pulls.

    The policy loss pulls at log-probabilities, the entropy term at entropies, both in nats, so the share tells how
    hard each steers without a second backward pass through the model. Left out where nothing pulls.
    """
    return {"entropy_gradient_share": entropy / (policy + entropy)} if policy + entropy else {}
