"""Prefix sharing: sequences with a common prefix are computed in one pass, and the prefix once.

The prefix is a list of tools that several requests have, or a prompt that is answered in both modes or several times. A pack
is the prefix, then the rest of each sequence, which attends to the prefix and to itself; several packs make one row of a
batch. Every position attends to the same tokens as in a row of one sequence, so that loss and gradients are the same.

The attention is registered by the public interface of transformers 5.19; whether a model can use it is read from private
names, which have no public counterpart: `_supports_sdpa`, `_attn_implementation`, `_can_set_attn_implementation`.
"""

from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from autotool_core.errors import AutoToolError
from autotool_training.common.examples import IGNORE_INDEX, Example

ATTENTION = "shared_prefix"
"""Name of the attention that packs need. It computes other rows as `sdpa` does, without copies of the keys and values."""

Pack = Mapping[str, list[int]]
"""`input_ids`, `labels` and `position_ids` of all tokens, and `parts`: the lengths of the prefix and of each rest."""


def pack_by_prefix(data: Sequence[Example], max_sequences: int, end_of_turn: int) -> list[Pack]:
    """Return packs of at most `max_sequences` sequences whose prompts have the same first turn, in the order of the data."""
    groups: dict[tuple[int, ...], list[Example]] = defaultdict(list)
    for example in data:
        groups[_first_turn(example.prompt_ids, end_of_turn)].append(example)
    return [
        _pack(group[start : start + max_sequences])
        for group in groups.values()
        for start in range(0, len(group), max_sequences)
    ]


def collate(packs: Sequence[Pack]) -> dict[str, Any]:
    """Return packs as a model takes them: tensors of shape (1, tokens), and the `parts` of each pack."""
    inputs: dict[str, Any] = {
        name: torch.tensor([[*_flatten([pack[name] for pack in packs])]]) for name in ("input_ids", "labels", "position_ids")
    }
    # transformers hands a mask of four dimensions on unchanged; `_attention` makes a mask for each part and ignores this one.
    mask = torch.ones_like(inputs["input_ids"])[:, None, None]
    return {**inputs, "attention_mask": mask, "parts": [pack["parts"] for pack in packs]}


def enable(model: Any) -> None:
    """Set the attention that packs need.

    Raises AutoToolError for a model with a layer other than full causal attention, or with a loss of its router.
    """
    if _has_full_attention(model) and not getattr(model.config.get_text_config(), "output_router_logits", False):
        model.set_attn_implementation(ATTENTION)
    if _attention_of(model) != ATTENTION:
        raise AutoToolError(f"share=true cannot be used with {type(model).__name__}: not all of its layers are full attention.")


@contextmanager
def without_kv_copies(model: Any) -> Generator[None]:
    """Let a model with full attention decode without copies of its keys and values (`_sdpa`); other models are unchanged."""
    if _attention_of(model) != "sdpa" or not _has_full_attention(model) or not _can_switch(model):
        yield
        return
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def score_responses(model: Any, input_ids: Tensor, attention_mask: Tensor, responses: int) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies (B, responses), in nats, of rows whose last `responses` columns are responses.

    Rows with the same prompt share it. `input_ids` and `attention_mask` are (B, tokens); the model has TRL's fused head.
    Padding has the result 0.
    """
    present = attention_mask.bool()
    rows = [
        Example(ids[:-responses][seen[:-responses]].tolist(), ids[-responses:][seen[-responses:]].tolist())
        for ids, seen in zip(input_ids, present, strict=True)
    ]
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[tuple(row.prompt_ids)].append(index)
    inputs = collate([_pack([rows[index] for index in group]) for group in groups.values()])
    inputs = {name: value.to(input_ids.device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
    output = model(**inputs, fused_lm_head=True)
    order = torch.tensor([*_flatten([*groups.values()])], device=input_ids.device)
    seen, inverse = present[order, -responses:], order.argsort()
    logps, entropy = (values[output.label_mask] for values in (output.log_probs, output.entropy))
    empty = logps.new_zeros(seen.shape)
    return empty.masked_scatter(seen, logps)[inverse], empty.masked_scatter(seen, entropy)[inverse]


def _has_full_attention(model: Any) -> bool:
    config = model.config.get_text_config()
    layers = {*(getattr(config, "layer_types", None) or ["full_attention"])}
    unbounded = layers == {"full_attention"} and getattr(config, "sliding_window", None) is None
    return unbounded and getattr(model, "_supports_sdpa", False)


def _can_switch(model: Any) -> bool:
    """Return whether the whole model has one attention implementation, which can be set and restored."""
    return model.config is model.config.get_text_config() and model._can_set_attn_implementation()


def _attention_of(model: Any) -> str | None:
    return getattr(model.config.get_text_config(), "_attn_implementation", None)


def _first_turn(ids: Sequence[int], end: int) -> tuple[int, ...]:
    return tuple(takewhile(lambda token: token != end, ids))


def _pack(group: Sequence[Example]) -> Pack:
    prompts = [example.prompt_ids for example in group]
    # The last token of each prompt is not shared, since it predicts the first token of its response.
    shared = min(_common_length(prompts[0], prompt) for prompt in prompts)
    rests = [[*example.prompt_ids[shared:], *example.response_ids] for example in group]
    unlabelled = [len(prompt) - shared for prompt in prompts]
    labels = [[IGNORE_INDEX] * count + rest[count:] for count, rest in zip(unlabelled, rests, strict=True)]
    positions = [range(shared, shared + len(rest)) for rest in rests]
    return {
        "input_ids": [*prompts[0][:shared], *_flatten(rests)],
        "labels": [IGNORE_INDEX] * shared + [*_flatten(labels)],
        "position_ids": [*range(shared), *_flatten(positions)],
        "parts": [shared, *map(len, rests)],
    }


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    return min(same, len(first) - 1, len(second) - 1)


def _flatten(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    return (number for numbers in lists for number in numbers)


def _attention(  # noqa: PLR0917 the signature of transformers
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    parts: Sequence[Sequence[int]] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within packs. Inputs are (1, heads, tokens, head size); the output is (1, tokens, heads, head size)."""
    if parts is None:
        return _sdpa(module, query, key, value, attention_mask, **kwargs), None
    lengths = [*_flatten(parts)]
    pieces = zip(*(cast("Sequence[Tensor]", states.split(lengths, dim=2)) for states in (query, key, value)), strict=True)
    outputs = [_attend_pack(module, [next(pieces) for _ in pack], **kwargs) for pack in parts]
    return torch.cat([output for pack in outputs for output in pack], dim=1), None


def _attend_pack(module: torch.nn.Module, pieces: Sequence[tuple[Tensor, Tensor, Tensor]], **kwargs: Any) -> Iterator[Tensor]:
    """Yield the attention of a pack's prefix to itself, then of each rest to the prefix and itself."""
    (query, first_key, first_value), *rests = pieces
    if shared := query.shape[2]:
        yield _sdpa(module, query, first_key, first_value, None, **kwargs)
    for query, key, value in rests:
        length = query.shape[2]
        seen = torch.ones(length, shared + length, dtype=torch.bool, device=query.device).tril(shared)
        keys, values = torch.cat((first_key, key), dim=2), torch.cat((first_value, value), dim=2)
        yield _sdpa(module, query, keys, values, seen[None, None], **kwargs)


def _sdpa(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any) -> Tensor:
    """Return the attention (1 or B, tokens, heads, head size) under a mask; without a mask it is causal.

    With a mask and grouped queries, transformers copies keys and values for each query head, which in decoding costs more
    than the rest of attention (docs/experiments/2026-11-27-attention-key-copies.md). The kernel of a CPU does without copies;
    on a GPU a matrix product does.
    """
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    if mask is not None and query.device.type == "cpu":
        options = {"dropout_p": kwargs.get("dropout", 0.0), "scale": scale, "enable_gqa": True}
        return scaled_dot_product_attention(query, key, value, mask, **options).transpose(1, 2).contiguous()
    if mask is not None and _is_one_query(query, key, mask) and not kwargs.get("dropout"):
        return _one_query(query, key, value, mask, scale)
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)[0]


def _is_one_query(query: Tensor, key: Tensor, mask: Tensor) -> bool:
    """Return whether each row has one query token, grouped queries and one boolean mask for all heads."""
    return query.shape[2] == 1 and key.shape[1] < query.shape[1] and mask.dtype == torch.bool and mask.shape[1] == 1


def _one_query(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Return `_sdpa` of one query token a row, by the product of each key head with all of its query heads."""
    batch, heads, _, size = query.shape
    grouped = query.reshape(batch, key.shape[1], -1, size) * scale
    scores = torch.matmul(grouped, key.transpose(2, 3)).masked_fill(~mask, -torch.inf)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return torch.matmul(weights, value).reshape(batch, 1, heads, -1)


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
