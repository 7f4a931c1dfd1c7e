"""The `vllm` engine: an `AsyncLLM` in this process, with its engine core in a child process that ends with it.

Every engine argument of `vllm serve` is passed on to vLLM: parallelism, quantisation, cache and so on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, cast

from autotool_core.errors import EngineError
from autotool_core.tokenizer import Tokenizer
from autotool_server.engines import vllm_start
from autotool_server.engines.base import (
    Capacity,
    DecisionRequest,
    EngineRequest,
    Score,
    TokenDelta,
    check_length,
    decide_in_two,
    with_next,
)
from autotool_server.engines.child_processes import HANG_SECONDS, Watch
from autotool_server.engines.vllm_errors import request_error
from autotool_server.engines.vllm_outputs import delta_after_decision, delta_of, raise_if_aborted, score_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from vllm import RequestOutput, SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

DECISION_TOKENS = 2
SHUTDOWN_SECONDS = 30.0  # a worker takes about five seconds to free its model; vLLM's default kills it just before


class VllmEngine:
    """An engine of vLLM.

    `model`: a local folder or hub id. `engine_args`: engine arguments of `vllm serve`, with underscores, and values as on its
    command line: a nested configuration is a JSON object in a string, and a boolean is a switch. `hang_seconds`: the time that
    a step may take.
    """

    name = "vllm"
    in_process = True

    def __init__(
        self,
        model: str,
        *,
        engine_args: Mapping[str, str | int | float | bool] | None = None,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self._model = model
        self._engine_args = dict(engine_args or {})
        self._hang_seconds = hang_seconds
        self._thread: ThreadPoolExecutor | None = None
        self._watch: Watch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._started: AsyncLLM | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._eos: tuple[int, ...] = ()
        self._has_scheduler = False
        self._active: set[str] = set()

    @property
    def _llm(self) -> AsyncLLM:
        if self._started is None:
            raise EngineError("The vLLM engine is not running.")
        return self._started

    @property
    def checkpoint(self) -> str:
        return self._llm.model_config.tokenizer or self._model

    @property
    def model_name(self) -> str:
        served = self._llm.model_config.served_model_name or self._model
        return served[0] if isinstance(served, list) else served

    @property
    def tokenizer(self) -> Tokenizer:
        return cast("Tokenizer", self._tokenizer or self._llm.get_tokenizer())

    @property
    def max_model_len(self) -> int:
        return self._llm.model_config.max_model_len

    @property
    def device(self) -> str:
        from vllm.platforms import current_platform  # noqa: PLC0415 vLLM is an optional extra

        config = self._llm.vllm_config
        number = config.parallel_config.world_size
        kind, name = current_platform.device_type, current_platform.get_device_name()
        named = kind if kind == name else f"{kind} ({name})"
        return f"{f'{number} x ' if number > 1 else ''}{named}, {str(config.model_config.dtype).removeprefix('torch.')}"

    @property
    def capacity(self) -> Capacity:
        config = self._llm.vllm_config
        # Of one engine, as vLLM reports both.
        engines, tokens = config.parallel_config.data_parallel_size, config.cache_config.kv_cache_size_tokens
        seats = engines * config.scheduler_config.max_num_seqs
        return Capacity(with_next(seats), engines * tokens if tokens else None, seats=seats)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        return self._eos

    async def start(self) -> None:
        # Both take tens of seconds and run in threads, so that health checks are answered. They are separate calls because
        # vLLM keeps the traceback of a failed optional import, and with it all objects of the importing stack.
        await asyncio.to_thread(vllm_start.import_library)
        # Started again, this process has clients, and threads that are at work for them; traces have connections of gRPC.
        may_fork = self._thread is None and "otlp_traces_endpoint" not in self._engine_args
        # The processes end with the thread that has started them, so it lives as long as they are to.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vllm")
        loading = self._thread.submit(vllm_start.load, self._model, self._engine_args, may_fork=may_fork)
        self._started, processes = await asyncio.wrap_future(loading)
        from vllm import envs  # noqa: PLC0415 vLLM is an optional extra

        # vLLM asks for a variable at every token, and keeps them in its own processes alone, after they have started.
        envs.enable_envs_cache()
        self._watch = Watch(processes, self._started.is_sleeping, self._hang_seconds)
        self._watching = asyncio.create_task(self._watch.run())

        from autotool_server.engines import checkpoint, vllm_args  # noqa: PLC0415 they import transformers and vLLM

        self._tokenizer = await asyncio.to_thread(vllm_start.tokenizer_of, self._llm, self.checkpoint)
        configured = self._llm.model_config.try_get_generation_config().get("eos_token_id")
        self._eos = checkpoint.eos_token_ids(configured, self._tokenizer)
        self._has_scheduler = vllm_args.decides(self._llm.vllm_config)

    async def stop(self) -> None:
        llm, self._started, self._tokenizer = self._started, None, None
        if self._watching is not None:
            self._watching.cancel()
        if llm is not None:
            from vllm import envs  # noqa: PLC0415 vLLM is an optional extra

            envs.disable_envs_cache()  # an engine that is started again has another environment
            # Requests fail now and not only when vLLM's processes have ended.
            await llm.abort(list(self._active))
            await asyncio.to_thread(llm.shutdown, SHUTDOWN_SECONDS)
            # Its destructor calls it again, and writes a traceback if the interpreter has already taken vLLM's modules apart.
            llm.shutdown = lambda timeout=None: None
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    async def health(self) -> None:
        llm = self._llm
        with self._errors():
            await llm.check_health()

    def in_flight(self) -> int:
        return self._started.get_num_unfinished_requests() if self._started else 0

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        from autotool_server.engines import vllm_params  # noqa: PLC0415 vLLM is an optional extra

        check_length(len(request.prompt_ids), request.max_tokens, self.max_model_len)
        with self._errors():
            params = vllm_params.generation_params(request, self._eos)
        first = True
        options = {"priority": request.priority, "trace_headers": request.trace_headers}
        async with aclosing(self._outputs(request.request_id, request.prompt_ids, params, **options)) as outputs:
            async for output in outputs:
                yield delta_of(output, request.logprobs, first=first)
                first = False

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
        from autotool_server.engines import vllm_params  # noqa: PLC0415 vLLM is an optional extra

        check_length(len(prompt_ids), 1, self.max_model_len)
        with self._errors():
            params = vllm_params.score_params(candidates, due)
        outputs = self._outputs(request_id, prompt_ids, params, priority=priority, trace_headers=trace_headers)
        [output] = [output async for output in outputs]
        return score_of(output, candidates)

    def decide(self, request: DecisionRequest) -> AsyncGenerator[Score | TokenDelta]:
        return self._decide(request) if self._decides(request) else decide_in_two(self, request)

    def _decides(self, request: DecisionRequest) -> bool:
        """Return whether the request can be decided by vLLM's scheduler, and go on as one."""
        first = request.generations[0] if len(request.generations) == len(request.outcomes) else None
        if first is None or not self._has_scheduler:
            return False
        # A request has one number of log-probabilities, which max_logprobs limits where the generation reports some too.
        has_room = first.logprobs is None or len(request.candidates) <= DECISION_TOKENS
        # A seeded generator begins with a request, and would not begin again after the decision.
        return has_room and (first.sampling.seed is None or not first.sampling.temperature)

    async def _decide(self, request: DecisionRequest) -> AsyncGenerator[Score | TokenDelta]:
        from autotool_server.engines import vllm_params  # noqa: PLC0415 vLLM is an optional extra

        longest = max(request.generations, key=lambda generation: len(generation.prompt_ids) + generation.max_tokens)
        check_length(len(longest.prompt_ids), longest.max_tokens, self.max_model_len)
        with self._errors():
            params = vllm_params.decision_params(request, self._eos)
        options = {"priority": longest.priority, "trace_headers": request.trace_headers}
        async with aclosing(self._outputs(request.request_id, request.prompt_ids, params, **options)) as outputs:
            decided = await anext(outputs)
            yield score_of(decided, request.candidates)
            if (delta := delta_after_decision(decided, longest.logprobs)) is not None:
                yield delta
            async for output in outputs:
                yield delta_of(output, longest.logprobs, first=False)

    async def _outputs(
        self,
        request_id: str,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        *,
        priority: int = 0,
        trace_headers: Mapping[str, str] | None,
    ) -> AsyncGenerator[RequestOutput]:
        from vllm.inputs import TokensPrompt, tokens_input  # noqa: PLC0415 vLLM is an optional extra

        # vLLM compiles the grammar of a `TokensPrompt` in a thread. It takes seconds and must not block other requests.
        prompt_type = TokensPrompt if params.structured_outputs else tokens_input
        prompt = prompt_type(prompt_token_ids=list(prompt_ids))
        self._active.add(request_id)
        try:
            with self._errors():
                # `reasoning_ended`: otherwise a reasoning parser in `engine_args` would delay the grammar.
                generation = self._llm.generate(
                    prompt,
                    params,
                    request_id,
                    priority=priority,
                    reasoning_ended=True,
                    trace_headers=trace_headers or None,  # vLLM warns about any where it has no endpoint
                )
                async with aclosing(generation) as outputs:
                    async for output in outputs:
                        raise_if_aborted(output.outputs[0].finish_reason, has_grammar=params.structured_outputs is not None)
                        yield output
        finally:
            self._active.discard(request_id)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise vLLM's errors as those of an engine."""
        from vllm.exceptions import VLLMClientError, VLLMError  # noqa: PLC0415 vLLM is an optional extra
        from vllm.v1.engine.exceptions import EngineDeadError  # noqa: PLC0415

        try:
            yield
        except VLLMClientError as error:
            raise request_error(str(error.args[0]), getattr(error, "parameter", None)) from None
        except EngineDeadError:
            failure = self._watch.failure if self._watch is not None else None
            raise EngineError(f"vLLM failed: {failure or 'One of its processes has ended; its log has the cause.'}") from None
        except VLLMError as error:
            raise EngineError(f"vLLM failed: {error}") from error
