"""TRL's fused head as `patch_fused_head` leaves it: its results are those of TRL's own head and of the plain head."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer import utils

from autotool_training.patches.trl_head import patch_fused_head


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    # `patch_fused_head` sets it for good.
    module: Any = utils
    monkeypatch.setattr(module, "_use_triton", module._use_triton)
    torch.manual_seed(0)
    made = LlamaForCausalLM(
        LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    )
    utils.add_fused_lm_head(made, outputs=("log_probs", "entropy"))
    return made


def scored(model: Any, labels: torch.Tensor, ids: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """The head's output, and the gradient of its loss on the head's weights."""
    model.zero_grad()
    output = model(input_ids=ids, labels=labels, fused_lm_head=True)
    output.loss.backward()
    return output, model.get_output_embeddings().weight.grad.clone()


@pytest.mark.parametrize("labelled", [5, 0])
def test_loss_entropy_and_gradients_are_those_of_trl(model: Any, labelled: int) -> None:
    ids = torch.randint(0, 40, (3, 9))
    labels = torch.full_like(ids, -100)
    labels[:2, 9 - labelled :] = ids[:2, 9 - labelled :]
    before, gradient_before = scored(model, labels, ids)
    patch_fused_head(model)
    after, gradient = scored(model, labels, ids)
    torch.testing.assert_close(after.loss, before.loss)
    torch.testing.assert_close(after.log_probs, before.log_probs)
    torch.testing.assert_close(after.entropy, before.entropy)
    torch.testing.assert_close(gradient, gradient_before)


def test_the_loss_is_that_of_the_plain_head(model: Any) -> None:
    patch_fused_head(model)
    ids = torch.randint(0, 40, (2, 7))
    labels = ids.clone()
    labels[:, :4] = -100
    plain = model(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(scored(model, labels, ids)[0].loss, plain)


def test_a_head_without_bias_gets_none(model: Any) -> None:
    head: Any = torch.nn.Module()
    head.weight = model.get_output_embeddings().weight
    model.set_output_embeddings(head)
    patch_fused_head(model)
    assert head.bias is None
