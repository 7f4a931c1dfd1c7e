"""H_i by hand, and the targets measured from it."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autotool_training.rl.entropy import entropy_targets, measure, sequence_entropy, token_entropy


def test_token_entropy_of_known_distributions() -> None:
    logits = torch.tensor(
        [[0.0, 0.0, 0.0, 0.0], [math.log(3), 0.0, -math.inf, -math.inf], [9.0, -math.inf, -math.inf, -math.inf]]
    )
    logits = logits.clamp(min=-1e4)
    wanted = [math.log(4), -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), 0.0]
    assert token_entropy(logits).tolist() == pytest.approx(wanted, abs=1e-6)


def test_token_entropy_in_chunks_is_that_of_the_whole() -> None:
    logits = torch.randn(3, 211, 17, generator=torch.Generator().manual_seed(0))
    wanted = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(token_entropy(logits), wanted)
    # bfloat16 would lose the small differences between long sums.
    assert token_entropy(logits.bfloat16()).dtype == torch.float32


def test_sequence_entropy_is_the_masked_mean() -> None:
    entropy = torch.tensor([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert sequence_entropy(entropy, mask).tolist() == [1.5, 4.0, 0.0]


def test_entropy_gradient_against_finite_differences() -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert torch.autograd.gradcheck(lambda x: sequence_entropy(token_entropy(x), mask), (logits,))


def test_targets_are_means_per_mode_by_weight() -> None:
    entropy = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0])
    short = torch.tensor([True, True, True, False, False])
    targets = entropy_targets(entropy, short)
    assert (targets.short, targets.long, targets.shared) == pytest.approx((2.0, 15.0, 7.2))
    targets = entropy_targets(entropy, short, torch.tensor([0.5, 0.25, 0.25, 0.75, 0.25]))
    assert (targets.short, targets.long, targets.shared) == pytest.approx((1.75, 12.5, 14.25 / 2))


def test_targets_are_percentiles_per_mode() -> None:
    entropy = torch.tensor([1.0, 20.0, 3.0, 10.0, 2.0])
    short = torch.tensor([True, False, True, False, True])
    targets = entropy_targets(entropy, short, percentile=50)
    assert (targets.short, targets.long, targets.shared) == (2.0, 15.0, 3.0)
    assert entropy_targets(entropy, short, percentile=100).long == 20.0
    for percentile in (10.0, 37.5, 90.0):
        wanted = torch.quantile(entropy.double(), percentile / 100).item()
        assert entropy_targets(entropy, short, percentile=percentile).shared == pytest.approx(wanted)
    # Of two answers the heavier one decides.
    weight = torch.tensor([1e-9, 1.0, 1e-9, 1e-9, 1.0])
    assert entropy_targets(entropy, short, weight, percentile=50).short == pytest.approx(2.0)


@pytest.mark.parametrize("short", [[True, True], [False, False]])
def test_targets_need_both_modes(short: list[bool]) -> None:
    with pytest.raises(ValueError, match="both modes"):
        entropy_targets(torch.tensor([1.0, 2.0]), torch.tensor(short))


class _Uniform(torch.nn.Module):
    """Predicts each of the first `1 + last token` tokens alike."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: torch.Tensor, logits_to_keep: int) -> Any:
        logits = torch.where(torch.arange(8) <= input_ids.unsqueeze(-1), 0.0, -1e9)
        return SimpleNamespace(logits=logits[:, -logits_to_keep:])


def test_measured_entropy_is_of_the_tokens_before_the_response() -> None:
    measured, odds = measure(_Uniform(), [([5, 3], [1, 7]), ([0], [2])], [1, 2])
    assert measured.tolist() == pytest.approx([(math.log(4) + math.log(2)) / 2, 0.0])
    # After 3 tokens 0 to 3 are alike, and after 0 there is only that one.
    assert odds.tolist() == pytest.approx([0.5, 0.5])
