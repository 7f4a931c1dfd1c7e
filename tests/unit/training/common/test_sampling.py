"""Sampling outside of a trainer draws from the model alone."""

import torch
from support.tiny import make_llama, make_tokenizer

from autotool_training.common.sampling import sample


def test_the_repetition_penalty_of_the_checkpoint_is_not_applied() -> None:
    tokenizer = make_tokenizer()
    model = make_llama(tokenizer).eval()
    # So sharp that the model, which repeats a token, would have to choose others.
    with torch.no_grad():
        model.lm_head.weight.mul_(50)
    prompts, eos = [[5, 9, 7]], [tokenizer.eos_token_id]
    free = sample(model, prompts, 12, eos, temperature=0)
    model.generation_config.repetition_penalty = 100.0
    assert sample(model, prompts, 12, eos, temperature=0) == free
    assert len({*free[0]}) < len(free[0])
