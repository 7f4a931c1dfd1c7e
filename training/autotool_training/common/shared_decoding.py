"""Decoding by transformers in which equal prompts are computed once, and rows that have ended are not computed further.

`generate` computes all rows until the longest answer ends. Here some tokens are decoded at a time, and then only those rows
that have not ended. On a CPU the time is nearly that of the tokens in the answers.
"""

import copy
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, GenerationConfig

from autotool_training.common.growing_cache import GrowingLayer

STAGE_TOKENS = 32
"""Tokens that are decoded between two looks at which rows have ended."""
COUNTED = (
    "min_length",
    "min_new_tokens",
    "begin_suppress_tokens",
    "exponential_decay_length_penalty",
    "forced_eos_token_id",
    "max_time",
)
"""Settings that count from the beginning of a call, and would begin again with each one."""


@contextmanager
def sharing(model: Any) -> Generator[None]:
    """Let `model.generate` decode as `generate_shared` does."""
    model.generate = partial(generate_shared, model, model.generate)
    try:
        yield
    finally:
        del model.generate


@torch.no_grad()
def generate_shared(
    model: Any,
    generate: Callable[..., Tensor],
    keep_rows: Callable[[Tensor], None] | None = None,
    *,
    input_ids: Tensor,
    attention_mask: Tensor,
    **options: Any,
) -> Tensor:
    """Return left-padded prompts (B, tokens) with their answers, padded, drawn as by `generate`, which is that of the model.

    All layers of the model have full attention (`prefix_sharing.enable`). `keep_rows` gets the rows of a call that go on.
    """
    config, options = _configured(model, options)
    cache = prefill_unique(model, input_ids, attention_mask)
    width, largest = input_ids.shape[1], input_ids.shape[1] + config.max_new_tokens
    stage = _stage_tokens(model, config)
    result = input_ids.new_full((len(input_ids), largest), config.pad_token_id)
    rows, ids = torch.arange(len(input_ids), device=input_ids.device), input_ids
    while True:
        config.max_new_tokens = min(stage, largest - ids.shape[1])
        mask = pad(attention_mask[rows], (0, ids.shape[1] - width), value=1)
        given = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache}
        ids = generate(**given, generation_config=config, **options)
        result[rows, : ids.shape[1]] = ids
        going = ~torch.isin(ids[:, width:], _ends(config, ids.device)).any(1)
        if ids.shape[1] == largest or not going.any():
            return result[:, : ids.shape[1]]
        if not going.all():
            kept = going.nonzero().squeeze(1)
            rows, ids = rows[kept], ids[kept]
            cache.batch_select_indices(kept)
            if keep_rows:
                keep_rows(kept)


def _stage_tokens(model: Any, config: GenerationConfig) -> int:
    """Return how many tokens a call decodes at most.

    Several processes decode all rows to the end: with sharded weights each of them waits for the others at every token.
    """
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    counted = any(getattr(held, name, None) is not None for held in (config, model.generation_config) for name in COUNTED)
    return config.max_new_tokens if several or counted else STAGE_TOKENS


def _configured(model: Any, options: dict[str, Any]) -> tuple[GenerationConfig, dict[str, Any]]:
    """Return a copy of the settings with those among `options`, and the other options."""
    options = dict(options)
    config = copy.deepcopy(options.pop("generation_config", None) or model.generation_config)
    options = config.update(**options)
    config.use_cache = True
    if config.eos_token_id is None:
        config.eos_token_id = model.generation_config.eos_token_id
    return config, options


def _ends(config: GenerationConfig, device: torch.device) -> Tensor:
    ends = config.eos_token_id
    return torch.tensor(ends if isinstance(ends, list) else [] if ends is None else [ends], device=device, dtype=torch.long)


@torch.no_grad()
def prefill_unique(model: Any, input_ids: Tensor, attention_mask: Tensor) -> DynamicCache:
    """Return the cache of all but the last column of left-padded prompts (B, tokens), from which `model.generate` goes on.

    Equal prompts are computed once.
    """
    rows, indices = torch.unique(torch.cat([input_ids, attention_mask], dim=1), dim=0, return_inverse=True)
    ids, seen = rows.tensor_split(2, dim=1)
    positions = (seen.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config.get_text_config())
    cache.layers[:] = [GrowingLayer() for _ in cache.layers]
    before = {"input_ids": ids[:, :-1], "attention_mask": seen[:, :-1], "position_ids": positions[:, :-1]}
    model(**before, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_select_indices(indices)
    return cache
