"""Attention in which each request of a batch attends to its own keys alone.

The library's `sdpa` attention computes one product of all requests' queries with all requests' keys and masks most of it, so
that its cost grows with the square of the number of requests. Here requests of similar length are padded to one another and
computed together (`Group`), from whole pages of the cache. It serves models whose layers all attend to everything before a
token; those with a sliding window or attention sinks keep the library's attention (`serves`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.generation.continuous_batching.cache import group_layers_by_attn_type
from transformers.generation.continuous_batching.cache_allocators import FULL_ATTENTION
from transformers.generation.continuous_batching.requests import FutureRequestState

NAME = "autotool_per_request"
FEATURES = ("position_bias", "softcap", "s_aux")
"""Arguments by which a layer asks for more than plain attention."""


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that are computed together. Shorter ones are padded, to less than twice their length."""

    sources: torch.Tensor
    """Rows of the forward that hold the queries; shape (requests, queries). Padding repeats row 0."""
    targets: torch.Tensor
    """Rows of the output that they give; shape (requests, queries). Padding goes to a row behind the last."""
    pages: torch.Tensor
    """Pages of layer 0 that hold the keys; shape (requests, pages)."""
    unused: torch.Tensor
    """Numbers of the gathered tokens that are no request's own: padding, and what others have left in a last page."""
    mask: torch.Tensor
    """0 where a query attends to a key, minus infinity elsewhere; shape (requests, 1, queries, keys)."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one request in a forward."""

    start: int
    queries: int
    past: int
    """Tokens in the cache before this forward."""
    pages: Sequence[int]


def serves(model: Any) -> bool:
    """Return whether this attention can compute every layer of the model, which has not been given another one yet."""
    config = model.config.get_text_config()
    return (
        config._attn_implementation == "sdpa"
        and set(group_layers_by_attn_type(config)) == {FULL_ATTENTION}
        and not any(hasattr(module, "sinks") for module in model.modules())
    )


def plan_each_batch(inputs: Any) -> None:
    """Let the manager's inputs hand the groups of each batch to `attend`."""
    kwargs_of_batch = inputs.get_model_kwargs

    def planned(*args: Any, **options: Any) -> Any:
        groups = plan(inputs.requests_in_batch, inputs.cache, inputs.model_dtype)
        return {**kwargs_of_batch(*args, **options), "attention_plan": groups}

    inputs.get_model_kwargs = planned


def plan(requests: Sequence[FutureRequestState], cache: Any, dtype: torch.dtype) -> list[Group]:
    """Return the groups of a forward's requests, whose tokens already count as cached (`position_offset`)."""
    allocator = cache.cache_allocators[FULL_ATTENTION]
    stride = allocator.block_physical_stride // allocator.tokens_per_page
    groups: dict[tuple[int, int], list[_Rows]] = {}
    start = 0
    for request in requests:
        length, queries = request.state.position_offset, request.query_length
        blocks = allocator.block_table[request.state.request_id][: -(-length // allocator.tokens_per_page)]
        rows = _Rows(start, queries, length - queries, [block * stride for block in blocks])
        groups.setdefault(((queries - 1).bit_length(), (len(blocks) - 1).bit_length()), []).append(rows)
        start += queries
    return [_group(members, start, allocator.tokens_per_page, cache.device, dtype) for members in groups.values()]


def _group(members: Sequence[_Rows], end: int, page_tokens: int, device: torch.device, dtype: torch.dtype) -> Group:
    queries, pages = max(rows.queries for rows in members), max(len(rows.pages) for rows in members)
    starts, counts, pasts = torch.tensor([(rows.start, rows.queries, rows.past) for rows in members]).T[..., None]
    numbers = torch.arange(queries)
    is_query = numbers < counts
    # Padded queries attend to the first key, so that no row is without one.
    lengths = torch.where(is_query, pasts + numbers + 1, 1)
    tokens = torch.arange(pages * page_tokens)
    mask = torch.zeros(len(members), 1, queries, len(tokens), dtype=dtype)
    mask.masked_fill_(tokens >= lengths[:, None, :, None], -torch.inf)
    return Group(
        sources=torch.where(is_query, starts + numbers, 0).to(device),
        targets=torch.where(is_query, starts + numbers, end).to(device),
        # The first page is nobody's. It is padding whose keys are masked.
        pages=torch.tensor([[*rows.pages, *[0] * (pages - len(rows.pages))] for rows in members], device=device),
        unused=(tokens >= pasts + counts).flatten().nonzero().flatten().to(device),
        mask=mask.to(device),
    )


def attend(  # noqa: PLR0917 the library passes these by position
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    *,
    cache: Any,
    attention_plan: Sequence[Group],
    write_index: Sequence[torch.Tensor],
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Write keys and values into the cache, and return the attention's output; shape (1, rows, heads, head size).

    `query`: shape (1, heads, rows, head size). `key`, `value`: shape (1, key heads, rows, head size). Raises
    ValueError for a layer that needs more than plain attention.
    """
    if any(kwargs.get(feature) is not None for feature in FEATURES):
        raise ValueError(f"{type(module).__name__} needs another attention.")
    layer: Any = module.layer_idx
    allocator = cache.layer_to_allocator[layer]
    keys, values = allocator.get_cache_for_block_table(layer)
    for store, states in ((keys, key), (values, value)):
        # What overflows, above 65,504, is limited: otherwise it would make all later tokens of its request NaN.
        limited = states.nan_to_num() if states.dtype == torch.float16 else states
        store.flatten(0, 1).index_copy_(0, write_index[allocator.index], limited[0].transpose(0, 1))
    queries = query[0].transpose(0, 1)
    output = query.new_empty(len(queries) + 1, *queries.shape[1:])
    for group in attention_plan:
        output[group.targets] = _attend(queries[group.sources], keys, values, group, scaling)
    return output[None, :-1], None


def _attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, group: Group, scaling: float | None) -> torch.Tensor:
    """Return the output of a group's queries; both have the shape (requests, queries, heads, head size)."""
    key, value = (_gather(store, group) for store in (keys, values))
    count, queries, heads, size = query.shape
    repeats = heads // key.shape[1]
    if queries == 1:
        # The heads that share keys become queries of one head, so that keys are not repeated.
        folded = query.view(count, -1, repeats, size)
        return scaled_dot_product_attention(folded, key, value, group.mask, scale=scaling).reshape(query.shape)
    key, value = (states.repeat_interleave(repeats, 1) if repeats > 1 else states for states in (key, value))
    return scaled_dot_product_attention(query.transpose(1, 2), key, value, group.mask, scale=scaling).transpose(1, 2)


def _gather(store: torch.Tensor, group: Group) -> torch.Tensor:
    """Return the tokens of a group; shape (requests, key heads, tokens, head size). `store`: shape (pages, tokens, ...)."""
    tokens = store.index_select(0, group.pages.flatten())
    # What others have left may be infinite or NaN, or its product with a query, which a mask of minus infinity does not hide.
    tokens.flatten(0, 1).index_fill_(0, group.unused, 0)
    return tokens.view(len(group.pages), -1, *store.shape[2:]).transpose(1, 2)


AttentionInterface.register(NAME, attend)
