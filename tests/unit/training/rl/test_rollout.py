"""Decoding of rollouts: merged adapters, shared prompts and decision tokens."""

from itertools import takewhile
from typing import Any

import pytest
import torch
from peft import get_peft_model

from autotool_core.prompt import DecisionTokens
from autotool_training import scratch
from autotool_training.common import prefix_sharing, shared_decoding
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


ENDS = [7, 8, 9, 10]


@torch.no_grad()
def test_rows_that_have_ended_are_decoded_no_further_and_recorded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_decoding, "STAGE_TOKENS", 3)
    model = scratch.make(scratch.ScratchSettings(), seed=0).model.eval()
    prefix_sharing.enable(model)
    counts: list[int] = []
    model.register_forward_pre_hook(lambda _, args, given: counts.append(len(given["input_ids"])), with_kwargs=True)
    prompts = torch.randint(20, 90, (6, 4), generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 0)
    present = torch.ones_like(prompts)
    present[:4, :2] = 0
    # Half of the tokens are ends, so that some rows end in each stage.
    likely = {"sequence_bias": {(end,): 5.5 for end in ENDS}, "eos_token_id": ENDS, "pad_token_id": 2}
    recorder = LogpRecorder()
    torch.manual_seed(1)
    with force_decision_token(model, DecisionTokens(11, 12, {}), share=True, recorder=recorder):
        given = {"input_ids": prompts, "attention_mask": present}
        ids = model.generate(**given, max_new_tokens=40, do_sample=True, top_k=0, **likely)
    assert counts[1] == 12
    assert sorted(counts[1:], reverse=True) == counts[1:]
    assert counts[-1] < 12
    recorded = recorder.take(ids.shape[1] - 4)
    assert recorded is not None
    whole = torch.nn.functional.pad(present, (0, ids.shape[1] - 4), value=1)
    positions = (whole.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=whole, position_ids=positions).logits[:, 3:-1]
    logits[..., ENDS] += 5.5
    logps = torch.log_softmax(logits, -1).gather(2, ids[:, 4:, None]).squeeze(2)
    for at, row in enumerate(ids[:, 4:].tolist()):
        answer = [*takewhile(lambda token: token not in ENDS, row)]
        assert row[len(answer) + 1 :] == [2] * len(row[len(answer) + 1 :])
        torch.testing.assert_close(recorded[at, : len(answer)], logps[at, : len(answer)], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_stages_decode_padded_prompts_as_one_call_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_decoding, "STAGE_TOKENS", 2)
    model = scratch.make(scratch.ScratchSettings(), seed=0).model.eval()
    prefix_sharing.enable(model)
    prompts = torch.randint(20, 90, (8, 6), generator=torch.Generator().manual_seed(0))
    present = (torch.arange(6) >= torch.tensor([0, 3, 1, 0, 2, 4, 0, 1])[:, None]).long()
    greedy = {"input_ids": prompts, "attention_mask": present, "max_new_tokens": 12, "do_sample": False, "pad_token_id": 2}

    def answers(share: bool, **options: Any) -> torch.Tensor:
        with force_decision_token(model, DecisionTokens(11, 12, {}), share=share):
            return model.generate(**greedy, **options)[:, 6:]

    # What four of the rows say at different places ends an answer.
    free = answers(share=False, eos_token_id=None)
    ends = sorted({int(free[row, place]) for row, place in ((1, 2), (3, 4), (4, 7), (6, 9))})
    expected = answers(share=False, eos_token_id=ends)
    assert (expected == 2).any(1).sum() >= 3
    torch.testing.assert_close(answers(share=True, eos_token_id=ends), expected)
    # A setting that counts from the beginning of an answer does not begin again with each stage.
    least = {"eos_token_id": 7, "sequence_bias": {(7,): 50.0}, "min_new_tokens": 6}
    expected = answers(share=False, **least)
    assert expected.shape == (8, 7)
    torch.testing.assert_close(answers(share=True, **least), expected)


def decoded(model: Any, prompts: torch.Tensor, present: torch.Tensor, *, share: bool) -> torch.Tensor:
    with force_decision_token(model, DecisionTokens(11, 12, {}), share=share):
        inputs = {"input_ids": prompts, "attention_mask": present}
        return model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False, pad_token_id=2)
