"""The objective: L = L_GRPO - Σ_i w_i·β_i·H_i, and the second term of each variant.

L_GRPO is TRL's, set up by `trl_arguments`: advantage = reward - group mean without standard deviation, clip 0.2/0.28,
truncated samples masked after their decision token (`keep_decisions`), truncated importance weights against the mismatch of
engine and trainer; the defaults are token-level normalisation and no KL. The paper has both terms under one mean. By default
the policy loss is a mean over tokens, and so w_i is the trajectory's part of the tokens, or with `entropy_aggregation =
"seq-mean-token-mean"` one over the number of trajectories; other `loss_type`s have their own normaliser in place of the
number of tokens. Truncated trajectories have β_i = 0 and, with `mask_zero_variance_groups`, also those of a group
whose rewards are all equal.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autotool_core.errors import AutoToolError
from autotool_training.rl.beta import BetaController, gap_sums, mode_beta
from autotool_training.rl.settings import UNCONSTRAINED, UNTARGETED, ObjectiveSettings

GRPO: Mapping[str, Any] = {
    "scale_rewards": "none",
    # TRL would mask the decision too.
    "mask_truncated_completions": False,
    "temperature": 1.0,
    "vllm_importance_sampling_correction": True,
    "vllm_importance_sampling_mode": "token_truncate",
}
"""Arguments of `GRPOConfig` that make TRL's loss L_GRPO, but for those that `trl_arguments` takes from the settings."""
# A target of 0 nats has no shares.
_MIN_UNIT = 1e-6
COLUMNS = frozenset({"prompt", "gold", "tools"})


def trl_arguments(settings: ObjectiveSettings) -> dict[str, Any]:
    """Return the arguments of `GRPOConfig` that make TRL's loss L_GRPO."""
    named = ("loss_type", "importance_sampling_level", "epsilon", "epsilon_high")
    return {**GRPO, **{name: getattr(settings, name) for name in named}, "beta": settings.kl_beta}


def check_setup(args: Any, columns: Collection[str], settings: ObjectiveSettings) -> None:
    """Raise AutoToolError unless `args` holds what `trl_arguments` returns and the training data has the columns."""
    for name, value in trl_arguments(settings).items():
        if getattr(args, name) != value:
            raise AutoToolError(f"{name} of GRPOConfig must be {value}, because the objective needs it: leave it as it is.")
    if missing := sorted(COLUMNS - set(columns)):
        raise AutoToolError(f"The training data lacks the column {missing[0]}: each item needs {', '.join(sorted(COLUMNS))}.")


def live_groups(rewards: Tensor, group: int) -> Tensor:
    """Return which trajectories (N,) of bool are in a group of unequal rewards; `rewards` is (N,), in groups of `group`."""
    grouped = rewards.view(-1, group)
    return (grouped.amax(1) > grouped.amin(1)).repeat_interleave(group)


def finished(response_ids: Tensor, mask: Tensor, eos: Collection[int]) -> Tensor:
    """Return which responses (B, T) under a `mask` of their tokens (B, T) end with one of the end tokens, (B,) of bool."""
    last = response_ids.gather(1, (mask.sum(1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
    return torch.isin(last, torch.tensor([*eos], device=last.device)) & mask.any(1)


def keep_decisions(mask: Tensor, whole: Tensor) -> Tensor:
    """Return the mask (B, T) of tokens with loss: all of a whole response, and the first one of a response that was cut.

    What a cut answer would have been is unknown, so that its tokens are masked (DAPO, arXiv 2503.14476). Its decision is
    known, and so is what came of it: no answer. With the decision masked too, its low reward would only be in the baseline,
    and push the decision of all others up. Leaving it out of the baseline instead would make an endless thought cost nothing.
    """
    kept = mask * whole.unsqueeze(1)
    kept[:, 0] = mask[:, 0]
    return kept


@dataclass(frozen=True, slots=True)
class Modes:
    """The trajectories of a batch that count in each mode, (B,) of bool: counted, not truncated, with a decision token."""

    short: Tensor
    long: Tensor


class EntropyConstraint:
    """The entropy term of one run. `controller` holds β_l, its only state.

    Raises AutoToolError if the variant needs entropy targets and the settings have none.
    """

    def __init__(self, settings: ObjectiveSettings) -> None:
        variant, targets = settings.variant, settings.targets
        if targets is None and variant not in UNTARGETED:
            raise AutoToolError(f"targets are missing: variant {variant} needs the entropies measured after SFT.")
        self._coupled = variant == "no-decoupling"
        self._short_target = self._long_target = math.inf
        if targets is not None and variant != "static-beta":
            self._short_target = targets.shared if self._coupled else targets.short
            self._long_target = targets.shared if self._coupled else targets.long
        self._by_token = settings.entropy_aggregation == "token-mean"
        self._masks_dead = settings.mask_zero_variance_groups
        relative = settings.beta_step == "relative"
        self._unit = max(self._long_target, _MIN_UNIT) if relative else 1.0
        scale = 0.0 if variant in UNCONSTRAINED else 1.0
        adaptive = variant in {"autotool", "no-decoupling"}
        self._short_beta = scale * settings.short_beta
        lr = settings.beta_lr * adaptive * (settings.beta_cap if relative else 1.0)
        max_gap = 1.0 if relative else math.inf
        self.controller = BetaController(scale * settings.long_beta, lr, settings.beta_cap, max_gap)

    def counted(self, live: Tensor) -> Tensor:
        """Return which trajectories (N,) count, of all groups or of the live ones only; `live` is from `live_groups`."""
        return live if self._masks_dead else torch.ones_like(live)

    def betas(self, entropy: Tensor, modes: Modes) -> Tensor:
        """Return β_i (B,) for H_i (B,)."""
        long_beta = self.controller.value
        short_beta = long_beta if self._coupled else self._short_beta
        short = mode_beta(entropy, modes.short, short_beta, self._short_target)
        return short + mode_beta(entropy, modes.long, long_beta, self._long_target)

    def weights(self, lengths: Tensor, tokens: Tensor | float, trajectories: int) -> Tensor:
        """Return w_i (B,) of trajectories with `lengths` (B,) tokens, of the numbers of tokens and trajectories of a step.

        `tokens` is the normaliser of the policy loss, whatever number that is.
        """
        return lengths / tokens if self._by_token else torch.full_like(lengths, 1 / trajectories)

    def term(self, entropy: Tensor, modes: Modes, weights: Tensor) -> Tensor:
        """Return Σ_i w_i·β_i·H_i, to be subtracted from L_GRPO; differentiable in H_i (B,) alone."""
        return (weights * self.betas(entropy.detach(), modes) * entropy).sum()

    def gap_sums(self, entropy: Tensor, modes: Modes) -> Tensor:
        """Return the sums of this batch for the controller's step (2,), which micro-batches and ranks add up.

        The gaps are in nats, or shares of the target with `beta_step = "relative"`.
        """
        controlled = modes.short | modes.long if self._coupled else modes.long
        return gap_sums(entropy / self._unit, controlled, self._long_target / self._unit)
