"""The entropy term of every variant, by hand and against finite differences."""

import math
from types import SimpleNamespace
from typing import Any, Literal, get_args

import pytest
import torch
from pydantic import ValidationError

from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_training.rl import metrics
from autotool_training.rl.entropy import sequence_entropy, token_entropy
from autotool_training.rl.objective import (
    EntropyConstraint,
    Modes,
    check_setup,
    finished,
    keep_decisions,
    live_groups,
    trl_arguments,
)
from autotool_training.rl.reward import Scored
from autotool_training.rl.settings import UNTARGETED, EntropyTargets, ObjectiveSettings, Variant
from autotool_training.rl.trajectory import Fault, Trajectory

TARGETS = EntropyTargets(short=0.2, long=0.6, shared=0.4)
# Two short, two long, one long that does not count.
ENTROPY = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.5], dtype=torch.float64)
MODES = Modes(torch.tensor([True, True, False, False, False]), torch.tensor([False, False, True, True, False]))


def make(variant: Variant) -> EntropyConstraint:
    return EntropyConstraint(ObjectiveSettings(variant=variant, targets=TARGETS, short_beta=0.01, long_beta=0.02))


@pytest.mark.parametrize(
    ("variant", "betas"),
    [
        ("autotool", [0.01, 0, 0.02, 0, 0]),
        ("no-adaptive", [0.01, 0, 0.02, 0, 0]),
        ("static-beta", [0.01, 0.01, 0.02, 0.02, 0]),
        ("no-decoupling", [0.02, 0.02, 0, 0, 0]),
        ("grpo", [0, 0, 0, 0, 0]),
        ("length-penalty", [0, 0, 0, 0, 0]),
    ],
)
def test_betas_and_term(variant: Variant, betas: list[float]) -> None:
    constraint = make(variant)
    assert constraint.betas(ENTROPY, MODES).tolist() == pytest.approx(betas)
    by_hand = sum(beta * entropy for beta, entropy in zip(betas, ENTROPY.tolist(), strict=True)) / 5
    assert constraint.term(ENTROPY, MODES, torch.full((5,), 0.2)).item() == pytest.approx(by_hand)


@pytest.mark.parametrize("variant", get_args(Variant))
def test_only_the_adaptive_variants_move(variant: Variant) -> None:
    constraint = make(variant)
    before = constraint.controller.value
    # The long ones are 0.1 above their target on average, and so are all live ones above the shared target.
    constraint.controller.step(*constraint.gap_sums(ENTROPY + 0.1, MODES).tolist())
    moves = variant in {"autotool", "no-decoupling"}
    target = TARGETS.shared if variant == "no-decoupling" else TARGETS.long
    assert constraint.controller.value - before == pytest.approx(-0.1 * 0.02 * 0.1 / target if moves else 0.0)


@pytest.mark.parametrize("target", [0.005, 0.05, 0.5])
def test_beta_crosses_its_range_in_tens_of_steps_whatever_the_entropies_are(target: float) -> None:
    targets = EntropyTargets(short=target, long=target, shared=target)
    constraint = EntropyConstraint(ObjectiveSettings(targets=targets, long_beta=0, beta_cap=0.02))
    steps = 0
    while constraint.controller.value < 0.02 and steps < 100:
        constraint.controller.step(*constraint.gap_sums(torch.full((5,), target / 2), MODES).tolist())
        steps += 1
    assert 10 <= steps <= 40


def test_absolute_steps_are_in_nats() -> None:
    settings = ObjectiveSettings(targets=TARGETS, long_beta=0.01, beta_step="absolute")
    assert (settings.beta_lr, ObjectiveSettings().beta_lr) == (5e-4, 0.1)
    constraint = EntropyConstraint(settings)
    constraint.controller.step(*constraint.gap_sums(ENTROPY + 0.1, MODES).tolist())
    assert constraint.controller.value == pytest.approx(0.01 - 5e-4 * 0.1)


def test_a_target_of_nothing_lowers_beta() -> None:
    constraint = EntropyConstraint(ObjectiveSettings(targets=EntropyTargets(short=0, long=0, shared=0)))
    for _ in range(3):
        constraint.controller.step(*constraint.gap_sums(ENTROPY, MODES).tolist())
    assert constraint.controller.value == 0.0


@pytest.mark.parametrize("outlier", [0.7, 9.0, math.log(50_000)])
def test_one_outlier_lowers_beta_by_no_more_than_the_loss_of_all_entropy_raises_it(outlier: float) -> None:
    targets = EntropyTargets(short=0.05, long=0.05, shared=0.05)
    constraint = EntropyConstraint(ObjectiveSettings(targets=targets, long_beta=0.01, beta_cap=0.02))
    modes = Modes(torch.tensor([False] * 3), torch.tensor([True] * 3))
    for entropies, moved in (([0.05, 0.05, outlier], -0.002), ([0.0] * 3, 0.002)):
        constraint.controller.value = 0.01
        constraint.controller.step(*constraint.gap_sums(torch.tensor(entropies, dtype=torch.float64), modes).tolist())
        assert constraint.controller.value - 0.01 == pytest.approx(moved)


@pytest.mark.parametrize("variant", get_args(Variant))
def test_gradient_of_the_term_against_finite_differences(variant: Variant) -> None:
    generator = torch.Generator().manual_seed(2)
    scale = torch.tensor([0.2, 0.5, 1.0, 3.0, 1.0], dtype=torch.float64).view(5, 1, 1)
    logits = (torch.randn(5, 4, 3, dtype=torch.float64, generator=generator) / scale).requires_grad_()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
    targets = EntropyTargets(short=0.5, long=1.05, shared=0.8)
    constraint = EntropyConstraint(ObjectiveSettings(variant=variant, targets=targets, short_beta=0.7, long_beta=0.02))

    def term(x: torch.Tensor) -> torch.Tensor:
        return constraint.term(sequence_entropy(token_entropy(x), mask), MODES, torch.full((5,), 0.2, dtype=torch.float64))

    assert torch.autograd.gradcheck(term, (logits,), eps=1e-6, atol=1e-9)
    (gradient,) = torch.autograd.grad(term(logits), logits)
    assert not gradient[4].any()
    assert bool(gradient.any()) == (variant not in {"grpo", "length-penalty"})


@pytest.mark.parametrize(("aggregation", "felt"), [("token-mean", [1, 1]), ("seq-mean-token-mean", [5, 5 / 9])])
def test_each_token_feels_its_beta(aggregation: Literal["token-mean", "seq-mean-token-mean"], felt: list[float]) -> None:
    # A short answer of 2 tokens and a long one of 18: the gradient of a token, in units of β over the number of tokens.
    settings = ObjectiveSettings(targets=TARGETS, short_beta=0.01, long_beta=0.01, entropy_aggregation=aggregation)
    constraint = EntropyConstraint(settings)
    mask = torch.arange(18) < torch.tensor([[2], [18]])
    tokens = torch.full((2, 18), 0.1, requires_grad=True)
    modes = Modes(torch.tensor([True, False]), torch.tensor([False, True]))
    weights = constraint.weights(mask.sum(1).float(), 20, 2)
    (gradient,) = torch.autograd.grad(constraint.term(sequence_entropy(tokens, mask), modes, weights), tokens)
    assert (gradient[:, 0] * 20 / 0.01).tolist() == pytest.approx(felt)
    assert not gradient[~mask].any()


def test_a_response_that_ends_is_whole_and_of_a_cut_one_the_decision_has_loss() -> None:
    ids = torch.tensor([[1, 5, 9, 0], [1, 5, 5, 5], [1, 9, 5, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]])
    whole = finished(ids, mask, [9])
    assert whole.tolist() == [True, False, False]
    assert keep_decisions(mask, whole).tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


def test_truncation_pushes_neither_towards_thinking_nor_away_from_it() -> None:
    # A quarter of the long answers is cut and the others are right, and of the short ones three in eight are wrong: both modes
    # have a mean reward of 0.25, so that there is nothing to learn about the decision.
    long = torch.tensor([True] * 8 + [False] * 8)
    rewards = torch.tensor([-0.5] * 2 + [0.5] * 6 + [1.0] * 5 + [-1.0] * 3)
    whole = torch.tensor([False] * 2 + [True] * 14)
    mask = keep_decisions(torch.ones(16, 4, dtype=torch.int), whole)
    log_odds = torch.zeros((), requires_grad=True)
    logps = torch.nn.functional.logsigmoid(torch.where(long, log_odds, -log_odds))
    ((rewards - rewards.mean()) * mask[:, 0] * logps).sum().backward()
    assert log_odds.grad is not None
    assert log_odds.grad.item() == pytest.approx(0)


def test_groups_of_equal_rewards_are_dead() -> None:
    rewards = torch.tensor([1.0, 1.0, 0.5, 1.0, -1.0, -1.0])
    assert live_groups(rewards, 2).tolist() == [False, False, True, True, False, False]


def test_groups_of_equal_rewards_count_unless_they_are_masked() -> None:
    live = torch.tensor([True, False, False])
    for masked, counted in ((False, [True, True, True]), (True, [True, False, False])):
        settings = ObjectiveSettings(targets=TARGETS, mask_zero_variance_groups=masked)
        assert EntropyConstraint(settings).counted(live).tolist() == counted


@pytest.mark.parametrize("variant", get_args(Variant))
def test_missing_targets_are_refused_if_the_variant_needs_them(variant: Variant) -> None:
    if variant in UNTARGETED:
        assert EntropyConstraint(ObjectiveSettings(variant=variant)).betas(ENTROPY, MODES).isfinite().all()
    else:
        with pytest.raises(AutoToolError, match="targets are missing"):
            EntropyConstraint(ObjectiveSettings(variant=variant))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("variant", {"variant": "none"}),
        ("beta_lr", {"beta_lr": 0}),
        ('beta_lr = 0.0005 is one of absolute steps.* beta_step = "absolute"', {"beta_lr": 5e-4}),
        ("long_beta", {"long_beta": 0.5}),
        ("short_beta", {"short_beta": math.inf}),
        ("entropy_coef", {"entropy_coef": 1}),
        ('loss_type=grpo .* entropy_aggregation = "seq-mean-token-mean"', {"loss_type": "grpo"}),
        ("loss_type=bnpo", {"loss_type": "bnpo", "entropy_aggregation": "seq-mean-token-mean"}),
        ("loss_type=dr_grpo", {"loss_type": "dr_grpo", "entropy_aggregation": "seq-mean-token-mean"}),
    ],
)
def test_an_invalid_setting_is_named(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=field):
        ObjectiveSettings(**{"targets": TARGETS, **changes})


def test_ratios_of_answers_are_clipped_by_gspos_own_values() -> None:
    for level, clip in (("token", (0.2, 0.28)), ("sequence", (3e-4, 4e-4))):
        made = trl_arguments(ObjectiveSettings.model_validate({"importance_sampling_level": level}))
        assert (made["epsilon"], made["epsilon_high"]) == clip
    assert trl_arguments(ObjectiveSettings(importance_sampling_level="sequence", epsilon=0.1))["epsilon"] == 0.1


def test_setup_is_checked() -> None:
    settings = ObjectiveSettings(targets=TARGETS, kl_beta=0.1)
    arguments = trl_arguments(settings)
    good = SimpleNamespace(**arguments)
    check_setup(good, ["prompt", "gold", "tools", "level"], settings)
    with pytest.raises(AutoToolError, match="column gold"):
        check_setup(good, ["prompt", "tools"], settings)
    for name, value in (("temperature", 0.7), ("loss_type", "grpo"), ("beta", 0.0)):
        with pytest.raises(AutoToolError, match=f"{name} of GRPOConfig must be {arguments[name]}"):
            check_setup(SimpleNamespace(**{**arguments, name: value}), ["prompt", "gold", "tools"], settings)


def scored(
    mode: ResolvedMode | None, reward: float, length: int, *, right: bool, fault: Fault | None = None, think: int = 0
) -> Scored:
    return Scored(Trajectory(mode, fault=fault), right, reward, length, think)


def test_rollout_metrics() -> None:
    rollouts = [
        scored(ResolvedMode.SHORT, 1.0, 10, right=True),
        scored(ResolvedMode.SHORT, -1.0, 20, right=False),
        scored(ResolvedMode.SHORT, 1.0, 30, right=True),
        scored(None, -1.0, 50, right=False, fault=Fault.NO_DECISION),
    ]
    live = torch.tensor([True, True, False, False])
    wanted = {"accuracy": 0.5, "thinking_rate": 0.0, "malformed": 0.25, "zero_variance_groups": 0.5}
    wanted |= {"reward/short": 1 / 3, "accuracy/short": 2 / 3, "length/short": 20.0, "call_tokens/short": 20.0}
    assert metrics.rollout_metrics(metrics.rollout_facts(rollouts, torch.device("cpu")), live) == pytest.approx(wanted)


def test_tokens_of_thoughts_are_logged_apart_from_those_of_calls() -> None:
    rollouts = [
        scored(ResolvedMode.LONG, 0.5, 90, right=True, think=60),
        scored(ResolvedMode.LONG, 0.5, 50, right=True, think=30),
    ]
    logged = metrics.rollout_metrics(metrics.rollout_facts(rollouts, torch.device("cpu")), torch.tensor([True, True]))
    assert (logged["think_tokens"], logged["call_tokens/long"], logged["length/long"]) == (45, 25, 70)


def test_entropy_metrics() -> None:
    parts = [(ENTROPY, MODES.short), (ENTROPY, MODES.short & MODES.long), (2 * ENTROPY, MODES.long)]
    assert metrics.entropy_metrics(metrics.entropy_sums(parts).tolist()) == pytest.approx(
        {"entropy/short": 0.2, "entropy/think": 1.2}
    )


def test_the_gap_of_log_probabilities_is_the_mean_over_what_is_known() -> None:
    logps, mask = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0]]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    sampled = torch.tensor([[-1.5, -2.0, torch.nan], [-0.75, -9.0, torch.nan]])
    assert metrics.gap_metrics(*metrics.logp_gap_sums(logps, sampled, mask).tolist()) == {"logp_gap": 0.25}
    assert metrics.gap_metrics(*metrics.logp_gap_sums(logps, None, mask).tolist()) == {}


def test_gradient_share() -> None:
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    entropies = torch.tensor([[1.0, 3.0]], requires_grad=True)
    policy, term = (
        metrics.gradient_l1((-2 * logps[0, 0] + logps[0, 1]) / 2, logps),
        metrics.gradient_l1(entropies.sum() / 4, entropies),
    )
    assert (policy.item(), term.item()) == (1.5, 0.5)
    assert metrics.share_metrics(policy.item(), term.item()) == {"entropy_weight_share": 0.25}
    assert metrics.share_metrics(0.0, 0.0) == {}
