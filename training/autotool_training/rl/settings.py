"""Settings of the RL objective; `variant` selects the paper's method or one of its ablations."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Variant = Literal["autotool", "grpo", "static-beta", "length-penalty", "no-decoupling", "no-adaptive"]
UNCONSTRAINED: tuple[Variant, ...] = ("grpo", "length-penalty")
"""Variants without an entropy term."""
UNTARGETED: tuple[Variant, ...] = (*UNCONSTRAINED, "static-beta")
"""Variants that need no entropy targets."""
ENTROPY_TERM = (
    "targets",
    "short_beta",
    "long_beta",
    "beta_step",
    "beta_lr",
    "beta_cap",
    "entropy_aggregation",
    "mask_zero_variance_groups",
)
"""Settings that the variants without an entropy term do not use."""


OLDER_OBJECTIVE: Mapping[str, Any] = {
    "beta_step": "absolute",
    "entropy_aggregation": "seq-mean-token-mean",
    "mask_zero_variance_groups": True,
}
"""What code did before it had these settings, which a run of that code does not hold."""
_CLIP: Mapping[str, tuple[float, float]] = {"token": (0.2, 0.28), "sequence": (3e-4, 4e-4)}
_BETA_LR: Mapping[str, float] = {"relative": 0.1, "absolute": 5e-4}
# The lowest one of relative steps: those of absolute steps are far below, and would hardly move β_l.
_MIN_RELATIVE_LR = 0.01


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EntropyTargets(_Settings):
    """The H of the entropy constraints, in nats (see `entropy.entropy_targets`)."""

    short: float = Field(ge=0)
    """H_s: short trajectories are constrained at or below it."""
    long: float = Field(ge=0)
    """H_l: long trajectories are constrained at or below it, and the adaptive beta holds their mean entropy at it."""
    shared: float = Field(ge=0)
    """The one target of the variant `no-decoupling`."""


class RewardTable(_Settings):
    """Reward by correctness and mode. Malformed and truncated trajectories are wrong.

    One without a decision, or long with nothing but white space in its think block, gets the lowest reward of a wrong one.
    """

    right_short: float = 1.0
    right_long: float = 0.5
    wrong_long: float = -0.5
    wrong_short: float = -1.0

    def break_even(self, p_long: float) -> float:
        """Return the p_short above which short has the higher expected reward; p_short and p_long are each mode's accuracy."""
        long = self.wrong_long + p_long * (self.right_long - self.wrong_long)
        return (long - self.wrong_short) / (self.right_short - self.wrong_short)


class ObjectiveSettings(_Settings):
    """Settings of the objective. Raises pydantic's ValidationError, which names the field."""

    variant: Variant = "autotool"
    """`autotool`: the whole method. `grpo`: no entropy term. `static-beta`: constant betas without targets.
    `length-penalty`: no entropy term, and a reward that falls with the length instead of the table. `no-decoupling`:
    one target and one adaptive beta for both modes. `no-adaptive`: both betas constant."""
    loss_type: Literal["dapo", "grpo", "bnpo", "dr_grpo"] = "dapo"
    """The mean over which the policy loss is taken, in TRL's words: over all tokens of a step (`dapo`), over those of a
    micro-batch (`bnpo`), over answers, each a mean over its tokens (`grpo`), or over answers times the maximum length
    (`dr_grpo`, arXiv 2503.20783). The entropy term has the same one, so that `grpo` needs `entropy_aggregation =
    "seq-mean-token-mean"`, and `bnpo` and `dr_grpo` need `token-mean`."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """Ratio of new to old probability of each token, or of the whole answer (GSPO, arXiv 2507.18071), which needs
    `rl.num_iterations` of at least 2: with one step a batch of rollouts every ratio is 1. Its `loss_type` is `grpo`: the others
    weigh an answer by its length."""
    epsilon: float = Field(default_factory=lambda known: _CLIP[known["importance_sampling_level"]][0], gt=0, lt=1)
    """A ratio is clipped at 1 - `epsilon`. Default: 0.2, and 3e-4 for ratios of whole answers, which are means over tokens
    (GSPO's own values)."""
    epsilon_high: float = Field(default_factory=lambda known: _CLIP[known["importance_sampling_level"]][1], gt=0)
    """A ratio is clipped at 1 + `epsilon_high`. Default: 0.28, and 4e-4 for ratios of whole answers."""
    kl_beta: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the checkpoint that RL starts from (TRL's `beta`). Without LoRA a second copy of the
    model is kept for it."""
    targets: EntropyTargets | None = None
    """Measured after SFT; `rl.run` measures them if they are left out."""
    short_beta: float = Field(default=0.005, ge=0)
    """β_s, constant."""
    long_beta: float = Field(default=0.005, ge=0)
    """β_l at the start."""
    beta_step: Literal["relative", "absolute"] = "relative"
    """Units of a step of β_l: `relative`, in which a mean entropy that is a share g under H_l raises β_l by `beta_lr` · g of
    the cap, and one above lowers it, by `beta_lr` of the cap at most; or `absolute`, by `beta_lr` · (H_l - H) in nats, the
    only way before."""
    beta_lr: float = Field(default_factory=lambda known: _BETA_LR[known["beta_step"]], gt=0)
    """Learning rate of β_l, which is updated once an optimiser step. Default: 0.1, with which β_l crosses its range in 20 steps
    if half of H_l is lost, and 5e-4 in `absolute` steps. In `relative` steps at least 0.01."""
    beta_cap: float = Field(default=0.02, gt=0)
    """β_l stays in [0, cap]."""
    entropy_aggregation: Literal["token-mean", "seq-mean-token-mean"] = "token-mean"
    """Mean by which the β_i·H_i of a step are added to the loss, in verl's words. `token-mean`: over all tokens, as in the
    policy loss, so that each token feels its β_i. `seq-mean-token-mean`: over trajectories, in which a token of a long answer
    feels less of it than one of a short answer; the only way before."""
    mask_zero_variance_groups: bool = False
    """Leave groups of equal rewards out of the entropy term and out of what adapts β_l. The paper's formula has no such
    factor, and collapse makes such groups. True was the only way before this setting."""
    rewards: RewardTable = RewardTable()
    length_penalty: float = Field(default=0.5, ge=0, le=1)
    """Variant `length-penalty`: the penalty of a right answer of the full length."""
    length_bonus: float = 0.0
    """Added to the table's reward of a right long answer whose think block has the full length, and of a shorter one in
    proportion. It pays for length itself, against which an entropy term is compared; a negative one is a price of length."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.long_beta > self.beta_cap:
            raise ValueError("long_beta is above beta_cap: lower it, or raise the cap.")
        if self.beta_step == "relative" and self.beta_lr < _MIN_RELATIVE_LR:
            raise ValueError(
                f"beta_lr = {self.beta_lr:g} is one of absolute steps: with relative ones β_l would need hundreds of steps to "
                'cross its range. Leave it out, or set beta_step = "absolute"'
            )
        return self

    @model_validator(mode="after")
    def _right_is_above_wrong(self) -> Self:
        table = self.rewards
        if self.length_bonus < 0 and table.right_long + self.length_bonus <= table.wrong_long:
            raise ValueError(
                f"length_bonus = {self.length_bonus:g} makes a right long answer worth no more than a wrong one: set it above "
                f"{table.wrong_long - table.right_long:g}"
            )
        return self

    @model_validator(mode="after")
    def _have_one_mean(self) -> Self:
        if self.variant in UNCONSTRAINED:
            return self
        if self.loss_type == "grpo" and self.entropy_aggregation == "token-mean":
            raise ValueError(
                "loss_type=grpo is a mean over answers, and the entropy term has the mean of the policy loss: set "
                'entropy_aggregation = "seq-mean-token-mean"'
            )
        if self.loss_type in {"bnpo", "dr_grpo"} and self.entropy_aggregation != "token-mean":
            raise ValueError(
                f"loss_type={self.loss_type} is a mean over tokens, and the entropy term has the mean of the policy loss: set "
                'entropy_aggregation = "token-mean"'
            )
        return self
