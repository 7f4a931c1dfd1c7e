"""The requests of the manager as the engine sees them: each has a sampler and a queue of its tokens."""

import asyncio
import logging
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import GenerationOutput

from autotool_core.errors import AutoToolError, EngineError, InvalidRequestError
from autotool_server.engines import queue_metrics
from autotool_server.engines.transformers.sampler import Continuation, Decider, TokenSampler

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next tokens of a request, or the news that its decision is made."""

    token_ids: Sequence[int]
    """Empty where a decision is made: its tokens belong to the prompt."""
    finished: bool
    cached_tokens: int
    """Prompt tokens from the cache, reported in the first chunk and 0 in the others."""


class Slot:
    """The state of one request in the manager: its sampler and its queue of chunks."""

    def __init__(self, slot_id: str, sampler: TokenSampler, decider: Decider | None = None) -> None:
        self.id = slot_id
        self.cached_tokens: int | None = None
        self._queued_at = time.monotonic()
        self._sampler = sampler
        self._decider = decider
        self._failure: AutoToolError | None = None
        self._num_received = 0
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[Chunk | AutoToolError] = asyncio.Queue()

    @property
    def is_plain(self) -> bool:
        """Whether the next token is the likeliest one, and the sampler need not see the logits."""
        return self._decider is None and self._sampler.is_plain

    def decide(self, logits: torch.Tensor) -> Continuation | None:
        """Return how the request goes on where a decision comes first, in the manager's thread; None where it has none left."""
        decider, self._decider = self._decider, None
        continuation = self._guarded(decider.decide, logits) if decider is not None else None
        if continuation is not None:
            self._sampler = continuation.sampler
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, Chunk((), False, self.cached_tokens or 0))
        return continuation

    def sample(self, logits: torch.Tensor) -> int:
        """Return the next token, in the manager's thread."""
        return self._guarded(self._sampler.sample, logits) or 0

    def _guarded(self, function: Callable[[torch.Tensor], T], logits: torch.Tensor) -> T | None:
        """Call the function. An exception fails this request; in the manager it would fail all."""
        try:
            return function(logits)
        except InvalidRequestError as error:
            self._failure = error
        except Exception:
            logger.exception("Sampling a token failed.")
            self._failure = _stopped()
        return None

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
