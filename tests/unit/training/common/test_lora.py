"""LoRA trains the markers' rows of the embeddings: of one matrix, or of both where input and output have their own."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import get_peft_model
from support.tiny import make_llama, make_tokenizer

from autotool_core.errors import AutoToolError
from autotool_core.profile import BUILTIN
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.lora import (
    LoraSettings,
    lora_config,
    merged_weights,
    reject_other_rows,
    with_merged_adapter,
)

PROMPT = torch.tensor([[5, 9, 7]])


def base(*, tied: bool) -> Checkpoint:
    tokenizer = make_tokenizer()
    return Checkpoint(make_llama(tokenizer, tie_word_embeddings=tied), tokenizer, BUILTIN["smollm2-autotool"])


def adapted(start: Checkpoint) -> Any:
    return get_peft_model(start.model, lora_config(start, LoraSettings(rank=2, alpha=4)))


def loss_of(model: Any, token: int) -> torch.Tensor:
    return -torch.log_softmax(model(PROMPT).logits[0, -1], -1)[token]


@pytest.mark.parametrize("tied", [True, False])
def test_a_marker_can_be_learnt(tied: bool) -> None:
    start = base(tied=tied)
    model, marker = adapted(start), start.tokenizer.convert_tokens_to_ids("</think>")
    rows = [weight for name, weight in model.named_parameters() if "trainable_tokens" in name]
    assert [weight.requires_grad for weight in rows] == [True] * (1 if tied else 2)
    optimiser = torch.optim.AdamW(rows, lr=0.2)
    for _ in range(20):
        optimiser.zero_grad()
        loss_of(model, marker).backward()
        optimiser.step()
    assert loss_of(model, marker).item() < 0.1


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_of_one_matrix_is_not_resumed_with_both(tmp_path: Path, tied: bool) -> None:
    start = base(tied=tied)
    trainer = SimpleNamespace(model=adapted(start))
    reject_other_rows(trainer, tmp_path)  # no adapter
    trainer.model.save_pretrained(tmp_path)
    reject_other_rows(trainer, tmp_path)
    older = lora_config(base(tied=True), LoraSettings(rank=2, alpha=4))
    get_peft_model(base(tied=tied).model, older).save_pretrained(str(tmp_path))
    with nullcontext() if tied else pytest.raises(AutoToolError, match="is an adapter of older code"):
        reject_other_rows(trainer, tmp_path)


def test_the_trained_rows_of_both_matrices_are_merged() -> None:
    start = base(tied=False)
    before = [matrix.weight.clone() for matrix in (start.model.get_input_embeddings(), start.model.get_output_embeddings())]
    model = adapted(start)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "trainable_tokens" in name:
                weight.add_(1)
    merged = model.merge_and_unload()
    markers = start.tokenizer.convert_tokens_to_ids(list(start.profile.markers))
    for old, matrix in zip(before, (merged.get_input_embeddings(), merged.get_output_embeddings()), strict=True):
        moved = (matrix.weight - old).abs().amax(1).nonzero().flatten().tolist()
        assert moved == sorted(markers)


@pytest.mark.parametrize("tied", [True, False])
def test_a_base_in_bfloat16_stays_as_it_is_however_often_it_is_merged(tied: bool) -> None:
    start = base(tied=tied)
    start.model.to(torch.bfloat16)
    model = adapted(start)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "trainable_tokens" in name or "lora_B" in name:
                weight.add_(torch.randn_like(weight))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    merged: dict[str, torch.Tensor] = {}
    for _ in range(3):
        with with_merged_adapter(model):
            pass
        merged = dict(merged_weights(model))
    assert merged
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    wanted = dict(model.merge_and_unload().named_parameters())
    assert all(torch.equal(weight, wanted[name]) for name, weight in merged.items())


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_merged_under_the_names_of_the_base(tied: bool) -> None:
    start = base(tied=tied)
    names = {name for name, _ in start.model.named_parameters()}
    model = adapted(start)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "trainable_tokens" in name or "lora_B" in name:
                weight.add_(1)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    merged = {name: weight.clone() for name, weight in merged_weights(model)}
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])
    assert merged.keys() == names
    wanted = dict(model.merge_and_unload().named_parameters())
    for name, weight in merged.items():
        assert torch.equal(weight, wanted[name]), name
