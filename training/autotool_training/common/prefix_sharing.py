"""Sequences that begin alike in one pass, and what they have in common is computed once.

That is a list of tools that several requests are offered, or a prompt that is answered in both modes or several times. A pack
is the beginning, then what is left of each sequence, which attends to the beginning and to itself; several packs make one row.
Every position sees what it would see in a row of its own, so that loss and gradients are the same.
"""

from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from autotool_core.errors import AutoToolError
from autotool_training.common.examples import IGNORE_INDEX, Example

ATTENTION = "shared_beginning"
"""Name of the attention that a model needs to be given packs; other rows it computes as `sdpa` does, without its copies."""

Pack = Mapping[str, list[int]]
"""`input_ids`, `labels` and `position_ids`, each of all tokens; and `parts`, the lengths of the beginning and of each rest."""


def packs(data: Sequence[Example], most: int, end_of_turn: int) -> list[Pack]:
    """Packs of at most `most` sequences whose prompts have the first turn in common, in the order of the data."""
    alike: dict[tuple[int, ...], list[Example]] = defaultdict(list)
    for one in data:
        alike[_first_turn(one.prompt_ids, end_of_turn)].append(one)
    return [_pack(together[at : at + most]) for together in alike.values() for at in range(0, len(together), most)]


def row(several: Sequence[Pack]) -> dict[str, Any]:
    """Packs as a model takes them: tensors of shape (1, tokens), and `parts` pack by pack."""
    inputs: dict[str, Any] = {
        name: torch.tensor([[*_joined([pack[name] for pack in several])]]) for name in ("input_ids", "labels", "position_ids")
    }
    # Of four dimensions a mask is handed on as it is. Each part has one of its own, and this one is not read.
    mask = torch.ones_like(inputs["input_ids"])[:, None, None]
    return {**inputs, "attention_mask": mask, "parts": [pack["parts"] for pack in several]}


def use(model: Any) -> None:
    """Give a model the attention that packs need.

    Raises AutoToolError for a model of which a layer is anything but attention to all before, or with a loss of its experts.
    """
    if _is_plain(model) and not getattr(model.config.get_text_config(), "output_router_logits", False):
        model.set_attn_implementation(ATTENTION)
    if _attention_of(model) != ATTENTION:
        raise AutoToolError(f"share=true cannot be had with {type(model).__name__}: its layers are not all plain attention.")


@contextmanager
def keys_uncopied(model: Any) -> Generator[None]:
    """Within it a model of plain attention decodes without copies of its keys (`_sdpa`); others are left alone."""
    if _attention_of(model) != "sdpa" or not _is_plain(model) or not _can_switch(model):
        yield
        return
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def scores(model: Any, input_ids: Tensor, attention_mask: Tensor, responses: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (B, responses) of rows whose last `responses` columns are padded responses, in nats.

    Rows of one prompt share it. `input_ids` and `attention_mask` are (B, tokens); the model has TRL's fused head. Where there
    is padding the result is 0.
    """
    present = attention_mask.bool()
    rows = [
        Example(ids[:-responses][seen[:-responses]].tolist(), ids[-responses:][seen[-responses:]].tolist())
        for ids, seen in zip(input_ids, present, strict=True)
    ]
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for at, one in enumerate(rows):
        alike[tuple(one.prompt_ids)].append(at)
    inputs = row([_pack([rows[at] for at in together]) for together in alike.values()])
    inputs = {name: value.to(input_ids.device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
    output = model(**inputs, fused_lm_head=True)
    order = torch.tensor([*_joined([*alike.values()])], device=input_ids.device)
    seen, back = present[order, -responses:], order.argsort()
    logps, entropy = (one[output.label_mask] for one in (output.log_probs, output.entropy))
    empty = logps.new_zeros(seen.shape)
    return empty.masked_scatter(seen, logps)[back], empty.masked_scatter(seen, entropy)[back]


@torch.no_grad()
def begun(model: Any, input_ids: Tensor, attention_mask: Tensor) -> DynamicCache:
    """What `model.generate` needs to go on from all but the last column of prompts (B, tokens), left-padded.

    Prompts that are the same are computed once.
    """
    rows, of = torch.unique(torch.cat([input_ids, attention_mask], dim=1), dim=0, return_inverse=True)
    ids, seen = rows.tensor_split(2, dim=1)
    positions = (seen.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config.get_text_config())
    before = {"input_ids": ids[:, :-1], "attention_mask": seen[:, :-1], "position_ids": positions[:, :-1]}
    model(**before, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_select_indices(of)
    return cache


def _is_plain(model: Any) -> bool:
    config = model.config.get_text_config()
    layers = {*(getattr(config, "layer_types", None) or ["full_attention"])}
    unbounded = layers == {"full_attention"} and getattr(config, "sliding_window", None) is None
    return unbounded and getattr(model, "_supports_sdpa", False)


def _can_switch(model: Any) -> bool:
    """Whether the attention is one for the whole model, and can be set and set back."""
    return model.config is model.config.get_text_config() and model._can_set_attn_implementation()


def _attention_of(model: Any) -> str | None:
    return getattr(model.config.get_text_config(), "_attn_implementation", None)


def _first_turn(ids: Sequence[int], end: int) -> tuple[int, ...]:
    return tuple(takewhile(lambda token: token != end, ids))


def _pack(together: Sequence[Example]) -> Pack:
    prompts = [one.prompt_ids for one in together]
    # The last token of each prompt stays out: it predicts the first of its response.
    begin = min(_alike(prompts[0], prompt) for prompt in prompts)
    rests = [[*one.prompt_ids[begin:], *one.response_ids] for one in together]
    unlabelled = [len(prompt) - begin for prompt in prompts]
    labels = [[IGNORE_INDEX] * none + rest[none:] for none, rest in zip(unlabelled, rests, strict=True)]
    positions = [range(begin, begin + len(rest)) for rest in rests]
    return {
        "input_ids": [*prompts[0][:begin], *_joined(rests)],
        "labels": [IGNORE_INDEX] * begin + [*_joined(labels)],
        "position_ids": [*range(begin), *_joined(positions)],
        "parts": [begin, *map(len, rests)],
    }


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return min(same, len(one) - 1, len(other) - 1)


def _joined(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    return (one for each in lists for one in each)


def _attention(  # noqa: PLR0917 as transformers calls it
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    parts: Sequence[Sequence[int]] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Shapes are (1, heads, tokens, size of a head); the output is (1, tokens, heads, size of a head)."""
    if parts is None:
        return _sdpa(module, query, key, value, attention_mask, **kwargs), None
    lengths = [*_joined(parts)]
    pieces = zip(*(cast("Sequence[Tensor]", one.split(lengths, dim=2)) for one in (query, key, value)), strict=True)
    done = [_attended(module, [next(pieces) for _ in pack], **kwargs) for pack in parts]
    return torch.cat([one for pack in done for one in pack], dim=1), None


def _attended(module: torch.nn.Module, pieces: Sequence[tuple[Tensor, Tensor, Tensor]], **kwargs: Any) -> Iterator[Tensor]:
    """The attention of a pack's beginning to itself, and of each rest to both."""
    (query, first_key, first_value), *rests = pieces
    if begin := query.shape[2]:
        yield _sdpa(module, query, first_key, first_value, None, **kwargs)
    for query, key, value in rests:
        length = query.shape[2]
        seen = torch.ones(length, begin + length, dtype=torch.bool, device=query.device).tril(begin)
        keys, values = torch.cat((first_key, key), dim=2), torch.cat((first_value, value), dim=2)
        yield _sdpa(module, query, keys, values, seen[None, None], **kwargs)


def _sdpa(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any) -> Tensor:
    """Attention (1 or B, tokens, heads, size of a head) to what a mask leaves, without one to all before.

    Where there is a mask and fewer heads of keys than of queries, transformers copies the keys, which in decoding costs more
    than the rest of attention (docs/log.md). A CPU's kernel takes them as they are; a GPU's does not, but a product does.
    """
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    if mask is not None and query.device.type == "cpu":
        options = {"dropout_p": kwargs.get("dropout", 0.0), "scale": scale, "enable_gqa": True}
        return scaled_dot_product_attention(query, key, value, mask, **options).transpose(1, 2).contiguous()
    if mask is not None and _is_one_query(query, key, mask) and not kwargs.get("dropout"):
        return _one_query(query, key, value, mask, scale)
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)[0]


def _is_one_query(query: Tensor, key: Tensor, mask: Tensor) -> bool:
    """Whether rows of one token each share heads of keys and one mask of what is seen."""
    return query.shape[2] == 1 and key.shape[1] < query.shape[1] and mask.dtype == torch.bool and mask.shape[1] == 1


def _one_query(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """`_sdpa` of one token a row, by the products of a head of keys with all of its heads of queries."""
    batch, heads, _, size = query.shape
    together = query.reshape(batch, key.shape[1], -1, size) * scale
    scores = torch.matmul(together, key.transpose(2, 3)).masked_fill(~mask, -torch.inf)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return torch.matmul(weights, value).reshape(batch, 1, heads, -1)


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
