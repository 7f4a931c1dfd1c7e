"""Helpers for the transformers engine: the state that it and its manager hold, and the output of plain transformers."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from transformers.generation.continuous_batching.requests import RequestStatus

from autotool_server.engines.transformers import TransformersEngine
from support.engines import until

TEXT = "The old lighthouse keeper wrote a letter every evening. He told of ships, of storms and of the quiet sea. "

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "size": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["city", "size"],
    "additionalProperties": False,
}
TAG = json.dumps({"type": "structural_tag", "format": {"type": "json_schema", "json_schema": SCHEMA, "max_whitespace_cnt": 1}})


def leftovers(engine: TransformersEngine) -> int:
    """Count everything that the engine and its manager hold for requests."""
    manager = engine._batcher._manager
    scheduler, cache = manager.batch_processor.scheduler, manager.batch_processor.cache
    return (
        engine.in_flight()
        + len(scheduler.active_requests)
        + len(scheduler.waiting_requests)
        + len(scheduler.waiting_requests_order)
        + len(scheduler._requests_to_cancel)
        + manager.input_queue.qsize()
        + manager.output_router.output_queue.qsize()
        + len(manager.output_router.result_handlers)
        + sum(len(allocator.block_table) for allocator in cache.cache_allocators.values())
    )


async def nothing_left(engine: TransformersEngine) -> None:
    await until(lambda: leftovers(engine) == 0)


def states(engine: TransformersEngine) -> list[RequestStatus]:
    scheduler = engine._batcher._manager.batch_processor.scheduler
    return [state.status for state in list(scheduler.active_requests.values())]


def raw_logprobs(model: Any, prompt_ids: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
    """Return the log-probabilities (nats) at the positions of `tokens`; shape (tokens, vocabulary)."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt_ids, *tokens]])).logits[0]
    return logits[len(prompt_ids) - 1 : -1].log_softmax(-1)


def generated(model: Any, prompt_ids: Sequence[int], max_tokens: int, **options: Any) -> list[int]:
    output = model.generate(
        torch.tensor([prompt_ids]), do_sample=False, max_new_tokens=max_tokens, eos_token_id=None, **options
    )
    return output[0, len(prompt_ids) :].tolist()
