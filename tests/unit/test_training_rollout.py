"""What rollouts are decoded with."""

import torch
from peft import get_peft_model

from autotool_training import scratch
from autotool_training.lora import LoraSettings, lora_config
from autotool_training.rl.rollout import merged_adapter


@torch.no_grad()
def test_a_merged_adapter_decodes_what_the_adapter_does_and_leaves_the_weights_as_they_were() -> None:
    base = scratch.make(scratch.ScratchSettings(), seed=0)
    model = get_peft_model(base.model, lora_config(base, LoraSettings(rank=4, alpha=8))).eval()
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.05)
    prompt = torch.tensor([[5, 9, *base.tokenizer.convert_tokens_to_ids(list(base.profile.markers)), 4]])
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    expected = model(prompt).logits
    with model.disable_adapter():
        assert not torch.allclose(model(prompt).logits, expected, atol=1e-3)
    with merged_adapter(model):
        torch.testing.assert_close(model(prompt).logits, expected, atol=1e-4, rtol=1e-4)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, before[name], atol=1e-6, rtol=1e-6)


def test_a_model_without_adapter_is_left_alone() -> None:
    with merged_adapter(torch.nn.Linear(1, 1)):
        pass
