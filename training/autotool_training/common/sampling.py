"""Sampling from a transformers model outside of a trainer: many prompts in one batch."""

from collections.abc import Collection, Sequence
from typing import Any

import torch


@torch.inference_mode()
def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    eos: Collection[int],
    *,
    temperature: float = 1.0,
    seed: int | None = None,
) -> list[list[int]]:
    """Return a response of at most `max_tokens` tokens to each prompt, with the end token if it was reached.

    A temperature of 0 is greedy decoding. `seed` seeds torch; None draws from torch's generators as they are. The
    `repetition_penalty` of the checkpoint's generation config is not applied: calls repeat names and values, and entropies
    and rewards are to be those of the model's own answers.
    """
    pad = next(iter(eos))
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    if seed is not None:
        torch.manual_seed(seed)
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_tokens,
        eos_token_id=list(eos),
        pad_token_id=pad,
        repetition_penalty=1.0,
        # One process samples while the others wait: with sharded weights generate would wait for them at every token.
        synced_gpus=False,
        **(drawn if temperature else {"do_sample": False}),
    )
    return [_until_end(response, eos) for response in output[:, width:].tolist()]


def _until_end(response: list[int], eos: Collection[int]) -> list[int]:
    end = next((index for index, token in enumerate(response) if token in eos), len(response))
    return response[: end + 1]
