"""The continuous-batching manager of transformers 5.19, with a token sampler for each request.

The manager batches, schedules and keeps the paged cache. Its logits processors support temperature, top-k and top-p only, and
sort the vocabulary twice a step for every request. They are replaced by one processor, which passes each row of logits to the
`TokenSampler` of its request and masks all tokens but the sampled one.

The names imported from `transformers.generation.continuous_batching` are not public, so pyproject.toml pins the minor version.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Iterable, MutableMapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessor
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import FutureRequestState, GenerationOutput

from autotool_core.errors import AutoToolError, EngineError, HungThreadError, InvalidRequestError
from autotool_server.engines import queue_metrics
from autotool_server.engines.base import Capacity, with_next
from autotool_server.engines.transformers.sampler import CandidateScorer, TokenSampler
from autotool_server.engines.transformers.scheduler import EXPRESS_SEATS, SCHEDULER

logger = logging.getLogger(__name__)

PAGE_TOKENS = 32
"""The size of a cache page. Prompts share whole pages, so small pages let short prompts share too."""
STEP_TOKENS = 512
"""The limit of tokens in one forward. A longer prompt is prefilled in several, so that it delays the others little."""
STEP_LOOK_SECONDS = 0.1
"""Time between two looks at whether the manager's thread has begun a step."""
TYPICAL_TOKENS = 1024
"""The cache holds this many tokens for each of `max_num_seqs` requests, and at least one request of full length."""
CANNOT_BATCH = "transformers cannot batch requests of this type of model; serve it with the vllm engine."


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next tokens of a request."""

    token_ids: Sequence[int]
    finished: bool
    cached_tokens: int
    """Prompt tokens from the cache, reported in the first chunk and 0 in the others."""


class Slot:
    """The state of one request in the manager: its sampler and its queue of chunks."""

    def __init__(self, slot_id: str, sampler: TokenSampler) -> None:
        self.id = slot_id
        self.cached_tokens: int | None = None
        self._queued_at = time.monotonic()
        self._sampler = sampler
        self._failure: AutoToolError | None = None
        self._num_received = 0
        self._chunks: asyncio.Queue[Chunk | AutoToolError] = asyncio.Queue()

    def sample(self, logits: torch.Tensor) -> int:
        """Return the next token, in the manager's thread. An exception fails this request; in the manager it would fail all."""
        try:
            return self._sampler.sample(logits)
        except InvalidRequestError as error:
            self._failure = error
        except Exception:
            logger.exception("Sampling a token failed.")
            self._failure = _stopped()
        return 0

    @property
    def is_waiting(self) -> bool:
        """Whether the request has not been in a batch yet."""
        return self.cached_tokens is None

    def scheduled(self, cached_tokens: int) -> None:
        """Note that the request is in a batch for the first time, with so many tokens of its prompt from the cache."""
        self.cached_tokens = cached_tokens
        queue_metrics.SECONDS.observe(time.monotonic() - self._queued_at)

    def put(self, output: GenerationOutput) -> None:
        """Queue the new tokens of an output. An output has all tokens of the request so far."""
        tokens = output.generated_tokens[self._num_received :]
        cached_tokens = 0 if self._num_received else self.cached_tokens or 0
        self._num_received += len(tokens)
        failure = self._failure or (None if output.error is None else _stopped())
        self._chunks.put_nowait(failure or Chunk(tokens, output.is_finished(), cached_tokens))

    def fail(self) -> None:
        """End the queue, so that `next` raises EngineError."""
        self._chunks.put_nowait(_stopped())

    async def next(self) -> Chunk:
        """Wait for the next chunk. Raises EngineError if the request has failed, InvalidRequestError if by its own fault."""
        chunk = await self._chunks.get()
        if isinstance(chunk, AutoToolError):
            raise chunk
        return chunk


def _stopped() -> EngineError:
    return EngineError("The engine stopped before the generation was finished; its log has the cause.")


Slots = MutableMapping[str, Slot]


class Batcher:
    """A running manager. It may be constructed in any thread and is used from the event loop `loop`.

    Raises EngineError if the model does not support batching, or if there is too little memory for the cache.
    """

    def __init__(self, model: Any, loop: asyncio.AbstractEventLoop, *, max_model_len: int, max_num_seqs: int) -> None:
        self._slots: Slots = {}
        self._loop = loop
        self._ids = itertools.count()
        tokens = max(max_model_len, TYPICAL_TOKENS * max_num_seqs)
        self.capacity = Capacity(with_next(max_num_seqs), tokens, EXPRESS_SEATS)
        try:
            self._manager = _make_manager(
                model, Router(self._slots, loop), PerRequestProcessor(self._slots), tokens, max_num_seqs
            )
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise EngineError(
                f"A cache of {tokens} tokens does not fit into memory; lower max_model_len or max_num_seqs."
            ) from error
        except (ValueError, AttributeError, RuntimeError) as error:
            raise EngineError(CANNOT_BATCH) from error
        self._manager.batch_processor.scheduler.slots = self._slots
        self._hung: HungThreadError | None = None
        self._num_steps = 0
        self._count_steps()
        queue_metrics.watch(self.waiting, self.in_flight)
        self._manager.start()

    def _count_steps(self) -> None:
        body = self._manager._generation_loop_body  # which waits a tenth of a second where there is nothing to do

        def counted(*args: Any, **kwargs: Any) -> bool:
            self._num_steps += 1
            return body(*args, **kwargs)

        self._manager._generation_loop_body = counted

    async def step(self) -> None:
        """Wait until the manager's thread begins its next step, or has ended."""
        number = self._num_steps
        while self._num_steps == number and self._manager.is_running():  # noqa: ASYNC110 the thread has no event for this
            await asyncio.sleep(STEP_LOOK_SECONDS)

    def abandon(self, reason: str) -> None:
        """Fail the requests in flight, and every later one: the manager's thread hangs, and no thread can be killed."""
        self._hung = HungThreadError(reason)
        self._fail_pending()

    async def try_out(self) -> None:
        """Decode one token. Raises EngineError if that stops the manager, as it does for some types of models (MLA)."""
        try:
            async with aclosing(self.decode([0], 1, (), CandidateScorer((0, 1)))) as chunks:
                await anext(chunks)
        except EngineError as error:
            if self._hung is not None:
                raise self._hung from None
            await asyncio.to_thread(self.stop)
            raise EngineError(CANNOT_BATCH) from error

    async def decode(
        self, prompt_ids: Sequence[int], max_tokens: int, stop_token_ids: Iterable[int], sampler: TokenSampler
    ) -> AsyncGenerator[Chunk]:
        """Decode until a stop token or `max_tokens`. Closing the generator removes the request from the manager."""
        # Each request has a new id, because the manager may apply a cancellation to a later request of the same id.
        slot = Slot(str(next(self._ids)), sampler)
        self._slots[slot.id] = slot
        try:
            self._manager.add_request(
                list(prompt_ids),
                request_id=slot.id,
                max_new_tokens=max_tokens,
                streaming=True,
                eos_token_id=list(stop_token_ids) or [-1],
            )
            self.check()  # after `add_request`: a manager that stops before it takes a request drops it silently
            finished = False
            while not finished:
                chunk = await slot.next()
                finished = chunk.finished
                yield chunk
        finally:
            if self._slots.pop(slot.id, None) is not None:
                self._cancel(slot.id)

    def _cancel(self, slot_id: str) -> None:
        waiting = self._manager.input_queue
        with waiting.mutex:
            # The manager takes new requests before it handles cancellations, so a request still in the queue is removed here.
            for state in waiting.queue:
                if state.request_id == slot_id:
                    waiting.queue.remove(state)
                    return
        self._manager.cancel_request(slot_id)

    def in_flight(self) -> int:
        """Return the number of requests that are neither finished nor closed."""
        return len(self._slots)

    def waiting(self) -> int:
        """Return the number of these that have not been in a batch yet."""
        return sum(slot.is_waiting for slot in list(self._slots.values()))

    def check(self) -> None:
        """Raise EngineError if the manager's thread has stopped or hangs."""
        if self._hung is not None:
            raise self._hung
        if self._manager.background_thread_status.can_accept_new_requests() or not self._manager.is_running():
            raise EngineError("The engine's thread has stopped; its log has the cause.")

    def stop(self) -> None:
        """Fail the requests in flight and wait for the thread to end, unless it hangs."""
        if self._hung is not None:
            return
        self._manager.stop(hard_stop=True)
        self._manager.destroy()
        # The manager fails the requests that it has taken, but not those in its queue.
        self._loop.call_soon_threadsafe(self._fail_pending)

    def _fail_pending(self) -> None:
        for slot in self._slots.values():
            slot.fail()


def _make_manager(model: Any, router: "Router", processor: "PerRequestProcessor", cache_tokens: int, max_num_seqs: int) -> Any:
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, max_new_tokens=1),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            num_blocks=-(-cache_tokens // PAGE_TOKENS),
            max_batch_tokens=max(STEP_TOKENS, max_num_seqs + EXPRESS_SEATS),
            max_requests_per_batch=max_num_seqs + EXPRESS_SEATS,
            scheduler_type=SCHEDULER,
            auto_switch_to_flash=False,
            # The samplers need the logits of every step, which CUDA graphs and asynchronous batching do not provide.
            use_cuda_graph=False,
            use_async_batching=False,
        ),
    )
    manager.output_router = router
    manager.logit_processor.logits_processor.append(processor)
    manager.logit_processor.tensors_required += 1
    manager.logit_processor.do_processing = True
    manager.warmup()  # allocates the cache here, where errors can be reported, and not in the manager's thread
    # Writing the cache commits its memory now. Otherwise memory could run out under load.
    manager.batch_processor.cache.cache_tensor.zero_()
    return manager


class PerRequestProcessor(ContinuousBatchingLogitsProcessor):
    """Passes each row of logits to its request's sampler."""

    supported_kwargs: dict[str, type] = {}  # noqa: RUF012 as in the base class
    ignored_kwargs: tuple[str, ...] = ()

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._rows: list[Slot | None] = []

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[FutureRequestState]) -> torch.Tensor:
        # A cancelled request has no slot any more.
        self._rows = [self._slots.get(request.state.request_id) for request in requests_with_new_token]
        return torch.zeros(len(self._rows), dtype=torch.int32)

    def __call__(self, scores: torch.FloatTensor, tensor_arg: torch.Tensor) -> torch.FloatTensor:
        # Further rows may follow, of prompts whose prefill is not complete.
        for row, slot in zip(scores, self._rows, strict=False):
            if slot is not None:
                token = slot.sample(row)
                row.fill_(-torch.inf)
                row[token] = 0
        return scores


class Router(OutputRouter):
    """Passes outputs to the slots. The manager's own router keeps the outputs of cancelled requests for ever."""

    def __init__(self, slots: Slots, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._slots = slots
        self._loop = loop

    def deliver(self, output: GenerationOutput) -> None:
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
        self._loop.call_soon_threadsafe(self._put_outputs, outputs)

    def _put_outputs(self, outputs: list[GenerationOutput]) -> None:
        for output in outputs:
            slot = self._slots.get(output.request_id)
            if slot is not None:
                if output.is_finished():
                    del self._slots[output.request_id]
                slot.put(output)
