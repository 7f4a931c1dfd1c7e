"""The `transformers` engine in this process. The library batches requests (`batcher`), `sampler` samples their tokens."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from autotool_core.errors import EngineError, InvalidRequestError
from autotool_core.modes import ResolvedMode
from autotool_core.tokenizer import Tokenizer
from autotool_server.engines.base import (
    Capacity,
    DecisionRequest,
    EngineRequest,
    FinishReason,
    Score,
    TokenDelta,
    check_length,
    decide_in_two,
)
from autotool_server.engines.checkpoint import eos_token_ids, load_tokenizer
from autotool_server.engines.child_processes import HANG_SECONDS, Watch
from autotool_server.engines.transformers.batcher import Batcher
from autotool_server.engines.transformers.grammar import GrammarCompiler
from autotool_server.engines.transformers.sampler import CandidateScorer, Continuation, Sampler, Settling
from autotool_server.engines.transformers.slots import Chunk


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded checkpoint."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    grammars: GrammarCompiler
    max_model_len: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]


class TransformersEngine:
    """An engine of transformers.

    `model`: a local folder or hub id. `dtype`: the name of a torch type, or `auto` for the checkpoint's. `device`: a torch
    device, or `auto` for the GPU if there is one. `max_model_len`: the maximum of tokens; the default and the limit is that
    of the checkpoint. `max_num_seqs`: the maximum of requests that are decoded at the same time; others wait. `hang_seconds`:
    the time that a step may take, after which the engine has failed for good.
    """

    name = "transformers"
    in_process = True

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        max_model_len: int | None = None,
        max_num_seqs: int = 32,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self._model = model
        self._load = partial(_load, model, dtype, device, max_model_len)
        self._max_num_seqs = max_num_seqs
        self._loaded: LoadedModel | None = None
        self._hang_seconds = hang_seconds
        self._running: Batcher | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def _parts(self) -> LoadedModel:
        if self._loaded is None:
            raise EngineError("The transformers engine is not running.")
        return self._loaded

    @property
    def _batcher(self) -> Batcher:
        if self._running is None:
            raise EngineError("The transformers engine is not running.")
        return self._running

    @property
    def checkpoint(self) -> str:
        return self._model

    @property
    def model_name(self) -> str:
        return self._model

    @property
    def tokenizer(self) -> Tokenizer:
        return cast("Tokenizer", self._parts.tokenizer)

    @property
    def max_model_len(self) -> int:
        return self._parts.max_model_len

    @property
    def device(self) -> str:
        model = self._parts.model
        name = f" ({torch.cuda.get_device_name(model.device)})" if model.device.type == "cuda" else ""
        return f"{model.device}{name}, {str(model.dtype).removeprefix('torch.')}"

    @property
    def capacity(self) -> Capacity:
        return self._batcher.capacity

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        return self._parts.eos_token_ids

    async def start(self) -> None:
        # In threads, so that health checks are answered meanwhile.
        loaded = await asyncio.to_thread(self._load)
        loop = asyncio.get_running_loop()
        batcher = await asyncio.to_thread(
            Batcher, loaded.model, loop, max_model_len=loaded.max_model_len, max_num_seqs=self._max_num_seqs
        )
        self._watching = asyncio.create_task(self._watch(batcher))
        await batcher.try_out()
        self._running, self._loaded = batcher, loaded

    async def _watch(self, batcher: Batcher) -> None:
        watch = Watch([], batcher.step, self._hang_seconds)
        await watch.run()
        batcher.abandon(watch.failure or "")

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        batcher, self._running, self._loaded = self._running, None, None
        if batcher is not None:
            await asyncio.to_thread(batcher.stop)

    async def health(self) -> None:
        self._batcher.check()

    def in_flight(self) -> int:
        return self._running.in_flight() if self._running else 0

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        self._check(request.prompt_ids, request.max_tokens)
        stop_token_ids = self._stop_token_ids(request)
        sampler = await self._create_sampler(request, stop_token_ids)
        async with aclosing(self._batcher.decode(request.prompt_ids, request.max_tokens, stop_token_ids, sampler)) as chunks:
            async for chunk in chunks:
                yield _delta(chunk, sampler, stop_token_ids, chunk.cached_tokens)

    def _stop_token_ids(self, request: EngineRequest) -> tuple[int, ...]:
        # A grammar ends with an end-of-sequence token.
        return request.stop_token_ids + (self.eos_token_ids if request.structural_tag else ())

    async def score(
        self,
        request_id: str,
        prompt_ids: Sequence[int],
        candidates: tuple[int, ...],
        *,
        priority: int = 0,
        due: float | None = None,
        trace_headers: Mapping[str, str] | None = None,
    ) -> Score:
        del request_id, priority, due, trace_headers  # the batcher has ids of its own, and neither an order nor traces
        self._check(prompt_ids, 1)
        scorer = CandidateScorer(candidates)
        async with aclosing(self._batcher.decode(prompt_ids, 1, (), scorer)) as chunks:
            chunk = await anext(chunks)
        return Score(scorer.logprobs, chunk.cached_tokens)

    def decide(self, request: DecisionRequest) -> AsyncGenerator[Score | TokenDelta]:
        can_go_on = len(request.generations) == len(request.outcomes)
        return self._decide(request) if can_go_on else decide_in_two(self, request)

    async def _decide(self, request: DecisionRequest) -> AsyncGenerator[Score | TokenDelta]:
        decider = Settling(request, {mode: await self._continuation(request, mode) for mode in request.outcomes})
        async with aclosing(self._batcher.decide(request.prompt_ids, decider)) as chunks:
            decision = await anext(chunks)
            yield Score(decider.logprobs, decision.cached_tokens)
            sampler, stop_token_ids = decider.settled.sampler, decider.settled.stop_token_ids
            async for chunk in chunks:
                yield _delta(chunk, sampler, stop_token_ids)

    async def _continuation(self, request: DecisionRequest, mode: ResolvedMode) -> Continuation:
        outcome = request.outcomes[mode]
        generation = cast("EngineRequest", outcome.generation)
        self._check(generation.prompt_ids, generation.max_tokens)
        stop_token_ids = self._stop_token_ids(generation)
        decided = request.candidates[0 if mode is ResolvedMode.LONG else 1]
        sampler = await self._create_sampler(generation, stop_token_ids)
        return Continuation([decided, *outcome.injected_ids], generation.max_tokens, stop_token_ids, sampler)

    def _check(self, prompt_ids: Sequence[int], max_tokens: int) -> None:
        check_length(len(prompt_ids), max_tokens, self.max_model_len)
        # In the model, such a token would end the engine and every other request.
        if not prompt_ids or min(prompt_ids) < 0 or max(prompt_ids) >= self._parts.vocab_size:
            raise InvalidRequestError("The prompt is empty or holds a token that the model does not have.", "messages")

    async def _create_sampler(self, request: EngineRequest, stop_token_ids: tuple[int, ...]) -> Sampler:
        parts = self._parts
        grammar = None
        if request.structural_tag is not None:
            grammar = await asyncio.to_thread(parts.grammars.compile, request.structural_tag, stop_token_ids)
        make = partial(Sampler, request, parts.vocab_size, parts.model.device, grammar, stop_token_ids)
        # The tensors of a bias of the whole vocabulary take milliseconds, for each choice.
        return await asyncio.to_thread(make) if request.sampling.logit_bias else make()


def _delta(chunk: Chunk, sampler: Sampler, stop_token_ids: Collection[int], cached_tokens: int = 0) -> TokenDelta:
    reason: FinishReason = "stop" if chunk.token_ids[-1] in stop_token_ids else "length"
    logprobs = tuple(sampler.logprobs.popleft() for _ in chunk.token_ids) if sampler.has_logprobs else None
    return TokenDelta(chunk.token_ids, logprobs, reason if chunk.finished else None, cached_tokens)


def _load(source: str, dtype: str, device: str, max_model_len: int | None) -> LoadedModel:
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise EngineError("dtype must be auto or the name of a torch type, such as float32 or bfloat16.")
    target = _device(device)
    tokenizer = load_tokenizer(source)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        model.to(target)
    except Exception as error:  # dozens of types: files, formats, architectures, memory
        raise EngineError(
            f"No model could be loaded from {source!r} ({type(error).__name__}); "
            "give a complete checkpoint of a causal language model: config.json and all its weight files."
        ) from error
    config = model.config.get_text_config()
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        grammars=GrammarCompiler(tokenizer, config.vocab_size),
        max_model_len=_model_length(max_model_len, getattr(config, "max_position_embeddings", None)),
        vocab_size=config.vocab_size,
        eos_token_ids=eos_token_ids(model.generation_config.eos_token_id, tokenizer),
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise EngineError("device must be auto or one that torch finds on this machine, such as cpu or cuda:0.") from error


def _model_length(requested: int | None, limit: int | None) -> int:
    if requested is None and limit is None:
        raise EngineError("The checkpoint does not state its maximum length; set max_model_len, in tokens.")
    if requested is not None and limit is not None and requested > limit:
        raise EngineError(f"max_model_len exceeds the length of the checkpoint; set it to at most {limit} tokens.")
    return requested or limit or 0
