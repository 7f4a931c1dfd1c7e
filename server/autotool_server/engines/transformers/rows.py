"""The tokens of a step: each row of logits goes to the sampler of its request, in place of the manager's own sampling.

The manager's logits processors support temperature, top-k and top-p only, and sort the vocabulary twice a step for every row.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers.generation.continuous_batching.requests import FutureRequestState, RequestStatus

from autotool_server.engines.transformers.sampler import Continuation
from autotool_server.engines.transformers.slots import Slot


class RowSampler:
    """Takes the place of `ModelRunner._sample`. `inputs`: the manager's `inputs_and_outputs`, with the requests of a step."""

    def __init__(self, inputs: Any, slots: Mapping[str, Slot]) -> None:
        self._inputs = inputs
        self._slots = slots

    def __call__(self, scores: torch.Tensor, output_ids: torch.Tensor) -> None:
        """Write the next token of each request that has one.

        `scores`: the logits, shape (1, rows, vocabulary). `output_ids`: shape (1, tokens).
        """
        requests = [request for request in self._inputs.requests_in_batch if request.has_new_token]
        likeliest = scores[0].argmax(-1).tolist()
        # Further rows may follow, of prompts whose prefill is not complete.
        found = [self._next(*row) for row in zip(requests, scores[0], likeliest, strict=False)]
        tokens = [token for token in found if token is not None]
        output_ids[0, : len(tokens)] = torch.tensor(tokens, dtype=output_ids.dtype)

    def _next(self, request: FutureRequestState, logits: torch.Tensor, likeliest: int) -> int | None:
        """Return the request's next token; None if it has decided, and its prompt goes on."""
        slot = self._slots.get(request.state.request_id)
        # A cancelled request has no slot any more.
        if slot is None or slot.is_plain:
            return likeliest
        continuation = slot.decide(logits)
        if continuation is None:
            return slot.sample(logits)
        _go_on(request, continuation)
        return None


def _go_on(request: FutureRequestState, continuation: Continuation) -> None:
    """Make the decided tokens the next part of the request's prompt, to which it has no output yet."""
    state, tokens = request.state, list(continuation.token_ids)
    state.initial_tokens = state.initial_tokens + tokens
    if state._true_initial_tokens:  # it was begun again, and counts what follows its prompt as output
        state._true_initial_tokens = len(state.initial_tokens)
    state.remaining_prefill_tokens = tokens
    state.status = RequestStatus.PREFILLING
    state.max_new_tokens = state._new_tokens_limit = continuation.max_tokens
    state.eos_token_id = list(continuation.stop_token_ids)
    state._eos_token_ids = set(continuation.stop_token_ids)
    request.has_new_token = False
