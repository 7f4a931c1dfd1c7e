"""Decoding of rollouts: merged adapters, shared prompts and decision tokens."""

from itertools import takewhile
from typing import Any

import pytest
import torch
from peft import get_peft_model

from autotool_core.prompt import DecisionTokens
from autotool_training import scratch
from autotool_training.common import prefix_sharing
from autotool_training.common.lora import LoraSettings, lora_config, with_merged_adapter
from autotool_training.rl.rollout import LogpRecorder, force_decision_token


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
    with with_merged_adapter(model):
        torch.testing.assert_close(model(prompt).logits, expected, atol=1e-4, rtol=1e-4)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, before[name], atol=1e-6, rtol=1e-6)


def test_a_model_without_adapter_is_left_alone() -> None:
    with with_merged_adapter(torch.nn.Linear(1, 1)):
        pass


@pytest.mark.parametrize("share", [False, True])
def test_equal_prompts_are_computed_once_and_decoded_the_same(share: bool) -> None:
    base = scratch.make(scratch.ScratchSettings(), seed=0)
    prefix_sharing.enable(base.model.eval())
    computed: list[tuple[int, ...]] = []
    base.model.register_forward_pre_hook(lambda _, args, given: computed.append(given["input_ids"].shape), with_kwargs=True)
    prompts = torch.tensor([[5, 9, 7, 4], [5, 9, 7, 4], [2, 2, 8, 4], [5, 9, 7, 4]])
    present = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]])
    together = decoded(base.model, prompts, present, share=share)
    assert (computed[0] == (2, 3)) is share
    for at in range(4):
        alone = decoded(base.model, prompts[at : at + 1], present[at : at + 1], share=False)
        torch.testing.assert_close(together[at : at + 1], alone)


@torch.no_grad()
def test_the_log_probabilities_of_decoded_tokens_are_recorded() -> None:
    base = scratch.make(scratch.ScratchSettings(), seed=0)
    prompt, recorder = torch.tensor([[5, 9, 7, 4]]), LogpRecorder()
    drawn = {"max_new_tokens": 5, "do_sample": True, "top_k": 0, "eos_token_id": None}
    base.model.generation_config.eos_token_id = None
    with force_decision_token(base.model.eval(), DecisionTokens(11, 12, {}), recorder=recorder):
        ids = base.model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), **drawn)
    recorded = recorder.take(6)
    assert recorded is not None
    logps = torch.log_softmax(base.model(ids).logits[:, 3:-1], -1).gather(2, ids[:, 4:, None]).squeeze(2)
    torch.testing.assert_close(recorded[:, 1:4], logps[:, 1:4])
    # The first is that before the other tokens are forbidden, and the last is not known.
    torch.testing.assert_close(recorded[:, 0], logps[:, 0])
    assert recorded[:, 4:].isnan().all()
    assert recorder.take(6) is None


@torch.no_grad()
def test_half_of_each_group_is_long_and_half_is_short() -> None:
    base = scratch.make(scratch.ScratchSettings(), seed=0)
    prompts = torch.tensor([[5, 9, 7, 4]] * 4 + [[2, 2, 8, 4]] * 4)
    drawn = {"max_new_tokens": 2, "do_sample": True, "top_k": 0, "eos_token_id": None, "pad_token_id": 2}
    base.model.generation_config.eos_token_id = None
    with force_decision_token(base.model.eval(), DecisionTokens(11, 12, {}), halved_group=4):
        ids = base.model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), **drawn)
    assert ids[:, 4].tolist() == [11, 11, 12, 12] * 2
    assert len(set(ids[:, 5].tolist())) > 2


@torch.no_grad()
def test_rows_that_have_ended_are_decoded_no_further_and_recorded_all_the_same() -> None:
    model = scratch.make(scratch.ScratchSettings(), seed=0).model.eval()
    prefix_sharing.enable(model)
    decoded_rows: list[int] = []
    model.register_forward_pre_hook(lambda _, args, given: decoded_rows.append(len(given["input_ids"])), with_kwargs=True)
    prompts = torch.randint(20, 90, (6, 4), generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 0)
    given = {"input_ids": prompts, "attention_mask": torch.ones_like(prompts)}
    drawn = {"max_new_tokens": 90, "do_sample": True, "top_k": 0, "eos_token_id": [7, 8, 9, 10], "pad_token_id": 2}
    recorder = LogpRecorder()
    torch.manual_seed(1)
    with force_decision_token(model, DecisionTokens(11, 12, {}), share=True, recorder=recorder):
        ids = model.generate(**given, **drawn)
    assert decoded_rows[1] == 12
    assert 0 < decoded_rows[-1] < 12
    recorded = recorder.take(ids.shape[1] - 4)
    assert recorded is not None
    logps = torch.log_softmax(model(input_ids=ids).logits[:, 3:-1], -1).gather(2, ids[:, 4:, None]).squeeze(2)
    known = ~recorded.isnan()
    torch.testing.assert_close(recorded[known], logps[known], atol=1e-4, rtol=1e-4)
    for row, seen in zip(ids[:, 4:].tolist(), known.tolist(), strict=True):
        answer = [*takewhile(lambda token: token not in {7, 8, 9, 10}, row)]
        assert row[len(answer) + 1 :] == [2] * len(row[len(answer) + 1 :])
        assert all(seen[: min(len(answer), len(row) - 1)])


def decoded(model: Any, prompts: torch.Tensor, present: torch.Tensor, *, share: bool) -> torch.Tensor:
    with force_decision_token(model, DecisionTokens(11, 12, {}), share=share):
        inputs = {"input_ids": prompts, "attention_mask": present}
        return model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False, pad_token_id=2)
