"""The continuous-batching manager of transformers 5.19, with a token sampler for each request.

The manager batches, schedules and keeps the paged cache. Its sampling is replaced (`rows`), and for most models its attention
too (`attention`).

The names imported from `transformers.generation.continuous_batching` are not public, so pyproject.toml pins the minor version.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from autotool_core.errors import EngineError, HungThreadError
from autotool_server.engines import queue_metrics
from autotool_server.engines.base import Capacity, with_next
from autotool_server.engines.transformers import attention
from autotool_server.engines.transformers.rows import RowSampler
from autotool_server.engines.transformers.sampler import CandidateScorer, Decider, TokenSampler
from autotool_server.engines.transformers.scheduler import EXPRESS_SEATS, SCHEDULER
from autotool_server.engines.transformers.slots import Chunk, Router, Slot, Slots

PAGE_TOKENS = 32
"""The size of a cache page. Prompts share whole pages, so small pages let short prompts share too."""
STEP_TOKENS = 512
"""The limit of tokens in one forward. A longer prompt is prefilled in several, so that it delays the others little."""
STEP_LOOK_SECONDS = 0.1
"""Time between two looks at whether the manager's thread has begun a step."""
TYPICAL_TOKENS = 1024
"""The cache holds this many tokens for each of `max_num_seqs` requests, and at least one request of full length."""
CANNOT_BATCH = "transformers cannot batch requests of this type of model; serve it with the vllm engine."


class Batcher:
    """A running manager. It may be constructed in any thread and is used from the event loop `loop`.

    Raises EngineError if the model does not support batching, or if there is too little memory for the cache.
    """

    def __init__(self, model: Any, loop: asyncio.AbstractEventLoop, *, max_model_len: int, max_num_seqs: int) -> None:
        self._slots: Slots = {}
        self._loop = loop
        self._ids = itertools.count()
        tokens = max(max_model_len, TYPICAL_TOKENS * max_num_seqs)
        self.capacity = Capacity(with_next(max_num_seqs), tokens, EXPRESS_SEATS, max_num_seqs)
        try:
            self._manager = _make_manager(model, Router(self._slots, loop), self._slots, tokens, max_num_seqs)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise EngineError(
                f"A cache of {tokens} tokens does not fit into memory; lower max_model_len or max_num_seqs."
            ) from error
        except (ValueError, AttributeError, RuntimeError) as error:
            raise EngineError(CANNOT_BATCH) from error
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

    def decode(
        self, prompt_ids: Sequence[int], max_tokens: int, stop_token_ids: Iterable[int], sampler: TokenSampler
    ) -> AsyncGenerator[Chunk]:
        """Decode until a stop token or `max_tokens`. Closing the generator removes the request from the manager."""
        return self._run(prompt_ids, max_tokens, stop_token_ids, sampler)

    def decide(self, prompt_ids: Sequence[int], decider: Decider) -> AsyncGenerator[Chunk]:
        """Settle a decision by the logits after the prompt, and decode what follows as it says, in the same request.

        The decided tokens become part of the prompt and are not yielded. The first chunk has no tokens: it comes when the
        decider has been called.
        """
        # Only the decider knows how the request goes on. With a limit of one token it would take an express seat.
        undecided = CandidateScorer((0,))
        return self._run(prompt_ids, 2, (), undecided, decider)

    async def _run(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        stop_token_ids: Iterable[int],
        sampler: TokenSampler,
        decider: Decider | None = None,
    ) -> AsyncGenerator[Chunk]:
        # Each request has a new id, because the manager may apply a cancellation to a later request of the same id.
        slot = Slot(str(next(self._ids)), sampler, decider)
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
        self._let_go_of_model()
        # The manager fails the requests that it has taken, but not those in its queue.
        self._loop.call_soon_threadsafe(self._fail_pending)

    def _let_go_of_model(self) -> None:
        """Refer to the model no longer, which is loaded again when the engine is started again: two may not fit."""
        queue_metrics.stop_watching()
        self._manager.model = None
        if error := self._manager.background_thread_status.fatal_error:
            error.with_traceback(None)  # its frames have the model

    def _fail_pending(self) -> None:
        for slot in self._slots.values():
            slot.fail()


def _make_manager(model: Any, router: Router, slots: Slots, cache_tokens: int, max_num_seqs: int) -> Any:
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
    if attention.serves(model):
        model.set_attn_implementation(attention.NAME)  # after the manager has checked its own, before it allocates masks
    manager.warmup()  # allocates the cache here, where errors can be reported, and not in the manager's thread
    _replace_parts(manager.batch_processor, slots)
    return manager


def _replace_parts(processor: Any, slots: Slots) -> None:
    processor.scheduler.slots = slots
    processor.model_runner._sample = RowSampler(processor.inputs_and_outputs, slots)
    if processor.config._attn_implementation == attention.NAME:
        attention.plan_each_batch(processor.inputs_and_outputs)
    # Writing the cache commits its memory now. Otherwise memory could run out under load.
    processor.cache.cache_tensor.zero_()
