"""Packs of sequences with a common prefix have the results of a row for each sequence."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import SIZES, records
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from autotool_core.errors import AutoToolError
from autotool_training import scratch
from autotool_training.common import lora, prefix_sharing
from autotool_training.common.examples import Example, ExampleWriter
from autotool_training.common.sampling import sample
from autotool_training.sft import train as sft

END = 2


def example(prompt: list[int], response: list[int]) -> Example:
    return Example(prompt, response)


def test_the_first_turn_makes_a_pack_and_the_last_token_of_a_prompt_stays_with_its_response() -> None:
    system = [1, 5, 6, END]
    data = [
        example([*system, 7, 8], [9, END]),
        example([1, 5, 5, END, 7, 8], [9, END]),
        example([*system, 7, 8], [10, 11, END]),
        example([*system, 7, 9], [12, END]),
    ]
    first, second = prefix_sharing.pack_by_prefix(data[:3], 8, END)
    assert first["parts"] == [5, 3, 4]
    assert first["input_ids"] == [*system, 7, 8, 9, END, 8, 10, 11, END]
    assert first["position_ids"] == [*range(8), *range(5, 9)]
    assert first["labels"] == [-100] * 6 + [9, END, -100, 10, 11, END]
    assert second["parts"] == [5, 3]
    assert [one["parts"][1:] for one in prefix_sharing.pack_by_prefix(data, 2, END)] == [[3, 4], [3], [3]]


def test_a_pack_has_the_loss_and_the_gradients_of_its_sequences() -> None:
    base = scratch.make(SIZES, seed=0)
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    data = [one for record in records(3) for one in both(writer, record)]
    (alone, grads), (together, shared_grads) = (computed(base, data, share) for share in (False, True))
    torch.testing.assert_close(together, alone)
    for one, other in zip(shared_grads, grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_masked_attention_is_that_of_transformers_for_any_number_of_key_heads(heads: int) -> None:
    torch.manual_seed(0)
    query, keys, values = (torch.randn(2, of, 5, 8, requires_grad=True) for of in (4, heads, heads))
    seen = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()
    module = torch.nn.Module()
    module.num_key_value_groups = 4 // heads  # pyright: ignore[reportArgumentType]
    results = []
    for attention in (ALL_ATTENTION_FUNCTIONS["sdpa"], ALL_ATTENTION_FUNCTIONS[prefix_sharing.ATTENTION]):
        output, _ = attention(module, query, keys, values, seen, scaling=0.3)
        results.append([output, *torch.autograd.grad(output.square().sum(), (query, keys, values))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_on_a_gpu_one_query_is_attended_as_by_transformers(heads: int) -> None:
    torch.manual_seed(0)
    query, keys, values = (torch.randn(3, of, tokens, 8) for of, tokens in ((4, 1), (heads, 6), (heads, 6)))
    seen = torch.ones(3, 1, 1, 6, dtype=torch.bool)
    seen[1, ..., :4] = False
    module = torch.nn.Module()
    module.num_key_value_groups = 4 // heads  # pyright: ignore[reportArgumentType]
    theirs, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, keys, values, seen, scaling=0.3)
    torch.testing.assert_close(prefix_sharing._one_query(query, keys, values, seen, 0.3), theirs)


META: Any = {"device": "meta"}
SEEN = torch.ones(2, 1, 1, 6, dtype=torch.bool, **META)


@pytest.mark.parametrize(
    ("queries", "mask", "options", "uncopied"),
    [
        (1, SEEN, {}, True),
        (2, torch.ones(2, 1, 2, 6, dtype=torch.bool, **META), {}, False),
        (1, SEEN, {"dropout": 0.1}, False),
        (1, torch.zeros(2, 1, 1, 6, **META), {}, False),
        (1, torch.ones(2, 4, 1, 6, dtype=torch.bool, **META), {}, False),
        (1, None, {}, False),
    ],
    ids=["one query", "two queries", "dropout", "added mask", "a mask a head", "no mask"],
)
def test_on_a_gpu_only_one_query_is_computed_without_transformers(
    monkeypatch: pytest.MonkeyPatch, queries: int, mask: torch.Tensor | None, options: dict[str, Any], uncopied: bool
) -> None:
    query, keys, values = (torch.empty(2, of, tokens, 8, **META) for of, tokens in ((4, queries), (2, 6), (2, 6)))
    used: list[str] = []
    monkeypatch.setattr(prefix_sharing, "_one_query", lambda *_: used.append("ours"))
    monkeypatch.setattr(prefix_sharing, "sdpa_attention_forward", lambda *_, **__: (used.append("theirs"),))
    prefix_sharing._sdpa(torch.nn.Module(), query, keys, values, mask, **options)
    assert used == (["ours"] if uncopied else ["theirs"])


def test_answers_are_sampled_without_copies_of_the_keys_and_the_model_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=32, **sizes)).eval()
    answers = {}
    for is_plain in (True, False):
        used: list[str | None] = []
        forward = model.forward
        monkeypatch.setattr(
            model, "forward", lambda *a, f=forward, u=used, **k: u.append(model.config._attn_implementation) or f(*a, **k)
        )
        if not is_plain:
            monkeypatch.setattr(prefix_sharing, "_has_full_attention", lambda _: False)
        with prefix_sharing.without_kv_copies(model):
            answers[is_plain] = sample(model, [[5, 6, 7], [8, 9]], 6, [1], seed=0)
        assert {*used} == {prefix_sharing.ATTENTION if is_plain else "sdpa"}
        assert model.config._attn_implementation == "sdpa"
    assert answers[True] == answers[False]


def both(writer: ExampleWriter, record: Any) -> list[Example]:
    return sft.make_examples([record], writer, sft.SftSettings(modes="both"))[0]


def computed(base: Any, data: list[Example], share: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    base.model.zero_grad()
    base.model.set_attn_implementation(prefix_sharing.ATTENTION)
    packs = prefix_sharing.pack_by_prefix(data, 8, base.tokenizer.eos_token_id)
    # A pack of one sequence is a row of its own.
    rows = (
        packs
        if share
        else [pack for one in data for pack in prefix_sharing.pack_by_prefix([one], 1, base.tokenizer.eos_token_id)]
    )
    assert not share or len(packs) < len(data)
    loss = torch.stack([summed(base.model, row) for row in rows]).sum()
    loss.backward()
    return loss.detach(), [weight.grad.clone() for weight in base.model.parameters()]


def summed(model: Any, pack: prefix_sharing.Pack) -> torch.Tensor:
    inputs = prefix_sharing.collate([pack])
    labels = inputs.pop("labels")
    if len(pack["parts"]) == 2:  # as any model computes it
        inputs = {"input_ids": inputs["input_ids"]}
    logits = model(**inputs).logits[0, :-1]
    return cross_entropy(logits, labels[0, 1:], reduction="sum")


@pytest.mark.parametrize("adapter", [None, lora.LoraSettings(rank=4, alpha=8)])
def test_a_step_over_packs_is_the_step_over_their_sequences(tmp_path: Path, adapter: lora.LoraSettings | None) -> None:
    weights = []
    for share in (False, True):
        base = scratch.make(SIZES, seed=0)
        writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
        data = [one for record in records(6) for one in both(writer, record)]
        packs = len(prefix_sharing.pack_by_prefix(data, 8, base.tokenizer.eos_token_id))
        settings = sft.SftSettings(learning_rate=5e-3, warmup_steps=0, share=share, lora=adapter, epochs=2)
        size = {"batch_size": 8, "accumulation": packs} if share else {"batch_size": len(data)}
        settings = settings.model_copy(update=size)
        weights.append(sft.train(base, data, settings, tmp_path / str(share), seed=1).model.state_dict())
    for name, one in weights[0].items():
        torch.testing.assert_close(weights[1][name], one, rtol=1e-2, atol=1e-4)


def test_a_model_without_full_attention_in_all_layers_is_refused() -> None:
    sizes: dict[str, Any] = {
        "vocab_size": 8,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    prefix_sharing.enable(MistralForCausalLM(MistralConfig(**sizes, num_key_value_heads=1, sliding_window=None)))
    with pytest.raises(AutoToolError, match="share=true cannot be used with MistralForCausalLM"):
        prefix_sharing.enable(MistralForCausalLM(MistralConfig(**sizes, num_key_value_heads=1, sliding_window=4)))
