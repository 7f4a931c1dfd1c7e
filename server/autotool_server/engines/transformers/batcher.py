"""transformers' continuous-batching manager, with a chooser of ours for each request's tokens.

The manager batches, schedules and keeps the paged cache; its own logits processors know temperature, top-k and top-p
only, and sort the vocabulary twice a step for every request, asked for or not. One processor of ours stands in their
place: it hands each row of logits to its request's `Chooser` and leaves the manager no other token than the chosen one.

What is imported from `transformers.generation.continuous_batching` is not its public face; pyproject.toml bounds the version.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessor
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import FutureRequestState, GenerationOutput, RequestState
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, FIFOScheduler

from autotool_core.errors import EngineError
from autotool_server.engines.transformers.sampler import Chooser

logger = logging.getLogger(__name__)

PAGE_TOKENS = 32
"""Prompts share their cache in whole pages: small ones, so that short prompts share too."""
STEP_TOKENS = 512
"""Tokens in one forward: a longer prompt is prefilled in several, so that it does not hold the others up for long."""
TYPICAL_TOKENS = 1024
"""The cache has room for this much of `max_num_seqs` requests, or for one of full length if that is more."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next tokens of a request."""

    token_ids: Sequence[int]
    finished: bool
    cached_tokens: int
    """Prompt tokens that were found in the cache; told in the first chunk."""


class Ticket:
    """A request's place in the manager."""

    def __init__(self, ticket_id: str, chooser: Chooser) -> None:
        self.id = ticket_id
        self.cached_tokens: int | None = None
        self._chooser = chooser
        self._failed = False
        self._taken = 0
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()

    def choose(self, logits: torch.Tensor) -> int:
        """The next token, in the manager's thread. A failure ends this request: out of here it would end them all."""
        try:
            return self._chooser.choose(logits)
        except Exception:
            logger.exception("Choosing a token failed.")
            self._failed = True
            return 0

    def put(self, output: GenerationOutput) -> None:
        """Take what is new in an output: outputs hold all tokens from the first."""
        tokens = output.generated_tokens[self._taken :]
        cached_tokens = 0 if self._taken else self.cached_tokens or 0
        self._taken += len(tokens)
        broken = self._failed or output.error is not None
        self._chunks.put_nowait(None if broken else Chunk(tokens, output.is_finished(), cached_tokens))

    def fail(self) -> None:
        """Tell whoever waits that there will be no more tokens."""
        self._chunks.put_nowait(None)

    async def next(self) -> Chunk:
        """Wait for tokens. Raises EngineError where there will be none."""
        chunk = await self._chunks.get()
        if chunk is None:
            raise EngineError("The engine stopped before the generation was finished; its log has the cause.")
        return chunk


Tickets = MutableMapping[str, Ticket]


class Batcher:
    """A running manager. Made in any thread, used from the event loop `loop`.

    Raises EngineError where the model cannot be batched or its cache finds no memory.
    """

    def __init__(self, model: Any, loop: asyncio.AbstractEventLoop, *, max_model_len: int, max_num_seqs: int) -> None:
        self._tickets: Tickets = {}
        self._loop = loop
        self._ids = itertools.count()
        tokens = max(max_model_len, TYPICAL_TOKENS * max_num_seqs)
        try:
            self._manager = _make_manager(
                model, Router(self._tickets, loop), PerRequestProcessor(self._tickets), tokens, max_num_seqs
            )
        except MemoryError as error:
            raise EngineError(
                f"A cache of {tokens} tokens does not fit into memory; lower max_model_len or max_num_seqs."
            ) from error
        except (ValueError, AttributeError) as error:
            raise EngineError(
                "transformers cannot batch requests to this kind of model; serve it with the vllm engine."
            ) from error
        self._manager.batch_processor.scheduler.tickets = self._tickets
        self._manager.start()

    async def decode(
        self, prompt_ids: Sequence[int], max_tokens: int, stop_token_ids: Iterable[int], chooser: Chooser
    ) -> AsyncGenerator[Chunk]:
        """Decode until a stop token or `max_tokens`; closing the generator takes the request out of the manager."""
        # The ids are ours because the manager may apply a cancellation to a later request of the same name.
        ticket = Ticket(str(next(self._ids)), chooser)
        self._tickets[ticket.id] = ticket
        try:
            self._manager.add_request(
                list(prompt_ids),
                request_id=ticket.id,
                max_new_tokens=max_tokens,
                streaming=True,
                eos_token_id=list(stop_token_ids) or [-1],
            )
            self.check()  # afterwards: a manager that stops in between drops what it has not taken yet
            finished = False
            while not finished:
                chunk = await ticket.next()
                finished = chunk.finished
                yield chunk
        finally:
            if self._tickets.pop(ticket.id, None) is not None:
                self._cancel(ticket.id)

    def _cancel(self, ticket_id: str) -> None:
        waiting = self._manager.input_queue
        with waiting.mutex:
            # The manager drains new requests before cancellations, so one that it has not drained could miss its own.
            for state in waiting.queue:
                if state.request_id == ticket_id:
                    waiting.queue.remove(state)
                    return
        self._manager.cancel_request(ticket_id)

    def in_flight(self) -> int:
        """Requests neither finished nor closed."""
        return len(self._tickets)

    def check(self) -> None:
        """Raise EngineError if no request can be decoded any more."""
        if self._manager.background_thread_status.can_accept_new_requests() or not self._manager.is_running():
            raise EngineError("The engine's thread has stopped; its log has the cause. Restart the server.")

    def stop(self) -> None:
        """Fail what is in flight and wait for the thread to end."""
        self._manager.stop(hard_stop=True)
        self._manager.destroy()
        # The manager fails what it has taken in, and forgets what it has not.
        self._loop.call_soon_threadsafe(self._fail_the_rest)

    def _fail_the_rest(self) -> None:
        for ticket in self._tickets.values():
            ticket.fail()


def _make_manager(model: Any, router: "Router", processor: "PerRequestProcessor", cache_tokens: int, max_num_seqs: int) -> Any:
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, max_new_tokens=1),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            num_blocks=-(-cache_tokens // PAGE_TOKENS),
            max_batch_tokens=max(STEP_TOKENS, max_num_seqs),
            max_requests_per_batch=max_num_seqs,
            scheduler_type=SCHEDULER,
            auto_switch_to_flash=False,
            # The choosers need the logits on every step, which a replayed graph or a step ahead would not show them.
            use_cuda_graph=False,
            use_async_batching=False,
        ),
    )
    manager.output_router = router
    manager.logit_processor.logits_processor.append(processor)
    manager.logit_processor.tensors_required += 1
    manager.logit_processor.do_processing = True
    manager.warmup()  # makes the cache here, where its errors can be reported, and not in the manager's thread
    # Memory that is only reserved would be taken page by page as requests come, and run out under load.
    manager.batch_processor.cache.cache_tensor.zero_()
    return manager


class PerRequestProcessor(ContinuousBatchingLogitsProcessor):
    """Lets each request's chooser choose."""

    supported_kwargs: dict[str, type] = {}  # noqa: RUF012 # the base class declares it so
    ignored_kwargs: tuple[str, ...] = ()

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets
        self._rows: list[Ticket | None] = []

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[FutureRequestState]) -> torch.Tensor:
        # A request that was just cancelled has no ticket any more.
        self._rows = [self._tickets.get(request.state.request_id) for request in requests_with_new_token]
        return torch.zeros(len(self._rows), dtype=torch.int32)

    def __call__(self, scores: torch.FloatTensor, tensor_arg: torch.Tensor) -> torch.FloatTensor:
        # There may be further rows, of prompts that are not prefilled to their end.
        for row, ticket in zip(scores, self._rows, strict=False):
            if ticket is not None:
                token = ticket.choose(row)
                row.fill_(-torch.inf)
                row[token] = 0
        return scores


class Router(OutputRouter):
    """Hands outputs to the tickets. The manager's own keeps the outputs of cancelled requests for ever."""

    def __init__(self, tickets: Tickets, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._tickets = tickets
        self._loop = loop

    def deliver(self, output: GenerationOutput) -> None:
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
        self._loop.call_soon_threadsafe(self._hand_out, outputs)

    def _hand_out(self, outputs: list[GenerationOutput]) -> None:
        for output in outputs:
            ticket = self._tickets.get(output.request_id)
            if ticket is not None:
                if output.is_finished():
                    del self._tickets[output.request_id]
                ticket.put(output)


class Scheduler(FIFOScheduler):
    """First come, first served, with three gaps of the manager's own closed."""

    tickets: Tickets

    def reset(self) -> None:
        super().reset()
        self._batch: dict[str, FutureRequestState] = {}

    def schedule_batch(self, token_budget: int, cache_budget: int) -> tuple[list[FutureRequestState] | None, bool, int, int]:
        """Also say how much of a prompt was found in the cache."""
        batch = super().schedule_batch(token_budget, cache_budget)
        self._batch = {request.state.request_id: request for request in batch[0] or ()}
        for request_id, request in self._batch.items():
            ticket = self.tickets.get(request_id)
            if ticket is not None and ticket.cached_tokens is None:
                ticket.cached_tokens = request.state.position_offset
        return batch

    def finish_request(self, request_id: str) -> None:
        """Also keep the pages that the last forward filled; a score has no other forward than its last."""
        request = self._batch.get(request_id)
        if request is not None:
            written = request.state.initial_tokens + request.state.generated_tokens[:-1]
            for kind, pages in request.complete_blocks.items():
                self.cache.cache_allocators[kind].mark_complete_blocks(request_id, written, pages)
        super().finish_request(request_id)

    def clear_cancelled_requests(self) -> list[RequestState]:
        """Also let new requests in: with a full cache they wait for one to *finish*, and now none may be left to."""
        cancelled = super().clear_cancelled_requests()
        if cancelled:
            self.block_new_requests = False
        return cancelled


SCHEDULER = "autotool"
SCHEDULER_MAPPING[SCHEDULER] = Scheduler
