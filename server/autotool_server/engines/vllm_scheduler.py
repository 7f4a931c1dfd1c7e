"""vLLM's scheduler, with the decision of `auto` inside the request: the mode is drawn here, and the request goes on at once.

vLLM loads this module in the process of its engine core. The first step of a request with a decision scores the tokens that it
reads. The mode is drawn from them, the rest of its prefix is appended to the prompt, and the request is scheduled again with
its cache and before any new one, as vLLM does with the next input of a streamed prompt (`Scheduler._handle_stopped_request`).
In two requests, the second one would queue behind new prompts and compute the end of its prompt once more.

The scheduler's interface is not public, so pyproject.toml pins the minor version of vLLM.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

from vllm.sampling_params import SamplingParams
from vllm.utils.math_utils import cdiv
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus, StreamingUpdate
from vllm.v1.structured_output import StructuredOutputManager
from vllm.v1.structured_output.request import StructuredOutputRequest

from autotool_core.decision import Readout, decide
from autotool_core.modes import ResolvedMode
from autotool_server.engines import vllm_params


@dataclass(slots=True)
class _Pending:
    """What a request is to do when its decision has been made."""

    params: SamplingParams
    grammar: StructuredOutputRequest | None
    decision: Mapping[str, Any]
    resolved: ResolvedMode | None = None

    def settle(self, logprobs: Mapping[int, float]) -> int:
        """Draw the mode from the candidates' log-probabilities (nats). Return its token."""
        candidates = self.decision["candidates"]
        readout = Readout(tuple(self.decision["weights"]), self.decision["intercept"])
        log_odds = readout.log_odds([logprobs[token] for token in candidates])
        self.resolved = decide(log_odds, **self.decision["draw"]).resolved
        long, short = candidates[:2]
        return long if self.resolved is ResolvedMode.LONG else short


class Grammars(StructuredOutputManager):
    """Compiles the grammar of a request with a decision, too, which the request itself does not have until it is decided."""

    def grammar_init(self, request: Request) -> None:
        params = request.sampling_params
        decision = vllm_params.decision_of(params) if params is not None else None
        if params is not None and decision is not None and request.use_structured_output:
            outcome = next(decision[mode] for mode in ResolvedMode if decision[mode]["has_grammar"])
            # A thread compiles it by and by, for a request as it will be after the decision.
            request = copy(request)
            request.sampling_params = vllm_params.outcome_params(params, decision, outcome)
        super().grammar_init(request)


class Deciding(Scheduler):
    """The part of a scheduler that makes decisions, for either scheduler of vLLM."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pending: dict[str, _Pending] = {}
        self._step: ModelRunnerOutput | None = None
        self._decided: set[str] = set()
        self.structured_output_manager.__class__ = Grammars

    def add_request(self, request: Request) -> None:
        """Let a request with a decision begin with the step that scores it; its grammar is compiled meanwhile.

        A request with a time at which it is due is ordered as if it had come then: a worse priority would put it behind all
        others for ever, and another arrival at the engine's front would change vLLM's own times of it. Its decision does not
        move it: it goes on before any new request in either mode.
        """
        params = request.sampling_params
        if params is not None:
            request.arrival_time += vllm_params.delay_of(params)
        decision = vllm_params.decision_of(params) if params is not None else None
        if params is not None and decision is not None:
            self._pending[request.request_id] = _Pending(params, request.structured_output_request, decision)
            request.sampling_params = vllm_params.score_params(decision["candidates"])
            request.max_tokens, request.structured_output_request = 1, None
            request.status = RequestStatus.WAITING
        super().add_request(request)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Also make the decisions whose scores are in the output. Their requests are not finished."""
        self._step = model_runner_output
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        if self._decided:
            for output in (output for client in outputs.values() for output in client.outputs):
                if output.request_id in self._decided:
                    output.finish_reason = None
            self._decided.clear()
        return outputs

    def _update_request_with_output(
        self, request: Request, new_token_ids: list[int], is_stale: bool = False
    ) -> tuple[list[int], bool]:
        pending = self._pending.get(request.request_id)
        if pending is not None and is_stale:
            return [], False  # it has lost its cache since, and is scored again
        if pending is not None:
            new_token_ids[0] = pending.settle(self._scores(request))
        return super()._update_request_with_output(request, new_token_ids, is_stale)

    def _scores(self, request: Request) -> Mapping[int, float]:
        """Return the log-probabilities (nats) that the step has for a request, by token."""
        step = cast("ModelRunnerOutput", self._step)
        row = cast("Any", step.logprobs).slice_request(step.req_id_to_index[request.request_id], 1)
        return dict(zip(row.logprob_token_ids[0].tolist(), row.logprobs[0].tolist(), strict=True))

    def _handle_stopped_request(self, request: Request) -> bool:
        pending = self._pending.pop(request.request_id, None)
        if pending is None or pending.resolved is None:
            return super()._handle_stopped_request(request)
        self._decided.add(request.request_id)
        self._go_on(request, pending, pending.decision[pending.resolved.value])
        return False

    def _go_on(self, request: Request, pending: _Pending, outcome: Mapping[str, Any]) -> None:
        """Append the decided token and what follows it, and queue the request with the parameters of its outcome."""
        token_id = request.output_token_ids[-1]
        params = vllm_params.outcome_params(pending.params, pending.decision, outcome)
        ids = [token_id, *outcome["injected_ids"]]
        update = StreamingUpdate(None, ids, cast("int", params.max_tokens), request.arrival_time, params)
        self._update_request_as_session(request, update)
        # It is queued a second time, which would count as waiting that began after the first step.
        if self.log_stats:
            request.events.pop()
        # Model runners then forget it until it is scheduled. They have no more places than requests may run.
        self.reset_preempted_req_ids.add(request.request_id)
        if outcome["has_grammar"]:
            request.structured_output_request = pending.grammar
            request.status = RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR
        if self._cache_is_short(request):
            self.kv_cache_manager.free(request)
            request.num_computed_tokens = 0
        self._enqueue_waiting_request(request)

    def _cache_is_short(self, request: Request) -> bool:
        """Return whether decided requests could hold the whole cache while none of them has the room to go on."""
        missing = [each.num_tokens - each.num_computed_tokens for each in (*self.kv_holding_waiting, request)]
        kinds = self.kv_cache_manager.coordinator.single_type_managers  # of layers, with blocks of one pool
        needed = sum(cdiv(tokens, kind.block_size) for tokens in missing for kind in kinds)
        return self.kv_cache_manager.block_pool.get_num_free_blocks() < needed

    def finish_requests(self, request_ids: Any, finished_status: RequestStatus) -> list[Request]:
        finished = super().finish_requests(request_ids, finished_status)
        for request in finished:
            self._pending.pop(request.request_id, None)
        return finished


class SyncDecidingScheduler(Deciding):
    """Takes the place of vLLM's `Scheduler`."""


class AsyncDecidingScheduler(Deciding, AsyncScheduler):
    """Takes the place of vLLM's `AsyncScheduler`."""
