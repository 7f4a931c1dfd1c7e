"""Rollouts by transformers in `auto`: the first token is one of the two decision tokens, as the server decodes it.

vLLM and transformers' continuous batching cannot limit the first token alone, so their rollouts decode it freely; another
token than a decision token makes the trajectory malformed, hence wrong. After SFT the two hold nearly all of the probability.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import FloatTensor, LongTensor, Tensor
from transformers import LogitsProcessor

from autotool_core.prompt import DecisionTokens
from autotool_training.common.prefix_sharing import begun


class _FirstToken(LogitsProcessor):
    """Allows only the decision tokens in the first step of one generation."""

    def __init__(self, decision: DecisionTokens) -> None:
        self._allowed = [decision.long, decision.short]
        self._first = True

    def __call__(self, input_ids: LongTensor, scores: FloatTensor) -> FloatTensor:
        if not self._first:
            return scores
        self._first = False
        forbidden = torch.ones_like(scores, dtype=torch.bool)
        forbidden[:, self._allowed] = False
        scores.masked_fill_(forbidden, -torch.inf)
        return scores


@contextmanager
def deciding_first(model: Any, decision: DecisionTokens, *, share: bool = False) -> Generator[None]:
    """Within it, the next `model.generate` begins with a decision token. `model` is the base model, within any adapter.

    With `share` (`shared.use`) prompts that are the same are computed once.
    """
    generate = partial(model.generate, logits_processor=[_FirstToken(decision)])
    model.generate = partial(_from_begun, model, generate) if share else generate
    try:
        yield
    finally:
        del model.generate


def _from_begun(
    model: Any, generate: Callable[..., Tensor], *, input_ids: Tensor, attention_mask: Tensor, **options: Any
) -> Tensor:
    cache = begun(model, input_ids, attention_mask)
    return generate(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True, **options)


@contextmanager
def merged_adapter(model: Any) -> Generator[None]:
    """Within it, the adapter of a PEFT model is added to the weights: a product a layer and token in place of three.

    Taken out again it leaves rounding errors of float32 behind, about 1e-7 of a weight a time. Other models are left alone.
    """
    if not hasattr(model, "merge_adapter"):
        yield
        return
    model.merge_adapter()
    try:
        yield
    finally:
        model.unmerge_adapter()
