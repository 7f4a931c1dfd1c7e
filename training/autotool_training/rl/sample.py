"""Sampling from a transformers model outside of a trainer: many prompts at once, at temperature 1."""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from autotool_training.common.prefix_sharing import keys_uncopied


@torch.inference_mode()
def sample(model: Any, prompts: Sequence[Sequence[int]], most: int, eos: Collection[int], **options: Any) -> list[list[int]]:
    """A response of at most `most` tokens to each prompt, the end token included where it was reached.

    `options` are further ones of `model.generate`.
    """
    pad = next(iter(eos))
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    with keys_uncopied(model):
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=most,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            eos_token_id=list(eos),
            pad_token_id=pad,
            # One process samples while the others wait: with sharded weights generate would wait for them at every token.
            synced_gpus=False,
            **options,
        )
    return [_until_end(response, eos) for response in output[:, width:].tolist()]


def _until_end(response: list[int], eos: Collection[int]) -> list[int]:
    end = next((at for at, token in enumerate(response) if token in eos), len(response))
    return response[: end + 1]
