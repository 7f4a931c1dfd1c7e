"""vLLM's sampling parameters: of a generation, of a score, and of a request with a decision, which `vllm_scheduler` reads.

This module imports vLLM, so `engines.vllm` imports it only when an engine starts.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

from autotool_core.errors import InvalidRequestError
from autotool_server.engines.base import DecisionRequest, EngineRequest, Outcome

SEED_RANGE = range(-(2**63), 2**63)
_DECISION = "autotool_decision"
_DELAY = "autotool_delay"


def generation_params(request: EngineRequest, eos: tuple[int, ...]) -> SamplingParams:
    """Return the parameters of a generation. Raises InvalidRequestError for a seed that is out of range."""
    sampling = request.sampling
    if sampling.seed is not None and sampling.seed not in SEED_RANGE:
        raise InvalidRequestError("seed must be a 64-bit integer.", "seed")
    tag = request.structural_tag
    return SamplingParams(
        max_tokens=request.max_tokens,
        # Only the request's stop tokens stop. A grammar ends with an end-of-sequence token, which must stop too.
        ignore_eos=True,
        stop_token_ids=_stop_token_ids(request, eos),
        min_tokens=request.min_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
        logit_bias=dict(sampling.logit_bias) or None,
        logprobs=request.logprobs,
        structured_outputs=StructuredOutputsParams(structural_tag=tag) if tag else None,
        extra_args=_until(request.due),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        skip_clone=True,
    )


def _until(due: float | None) -> dict[str, float] | None:
    return {_DELAY: due - time.perf_counter()} if due is not None else None


def _stop_token_ids(request: EngineRequest, eos: tuple[int, ...]) -> list[int]:
    return list(request.stop_token_ids + (eos if request.structural_tag else ()))


def score_params(candidates: Sequence[int], due: float | None = None) -> SamplingParams:
    """Return the parameters of a step that scores candidate tokens. `due`: as `EngineRequest` has it."""
    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        allowed_token_ids=list(candidates),
        logprob_token_ids=list(candidates),
        extra_args=_until(due),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


def decision_params(request: DecisionRequest, eos: tuple[int, ...]) -> SamplingParams:
    """Return the parameters of a request that makes a decision and goes on.

    vLLM takes them as those of one generation, whose limit is the longer outcome's. What differs between the outcomes is in
    `extra_args`, and `outcome_params` applies it. Log-probabilities are announced in either case, since the decision has some.
    """
    longest = max(request.generations, key=lambda generation: generation.max_tokens)
    with_grammar = next((generation for generation in request.generations if generation.structural_tag), longest)
    params = generation_params(with_grammar, eos)
    params.max_tokens, params.min_tokens = longest.max_tokens, 0
    # vLLM checks them here, which are never those of a step.
    params.stop_token_ids = [token for generation in request.generations for token in _stop_token_ids(generation, eos)]
    if longest.logprobs is None:
        params.logprob_token_ids = list(request.candidates)
    else:
        params.logprobs = max(longest.logprobs, len(request.candidates))
    outcomes = {resolved.value: _outcome(outcome, eos) for resolved, outcome in request.outcomes.items()}
    draw = {"reasoning_bias": request.reasoning_bias, "temperature": request.temperature, "uniform": request.uniform}
    read = {"candidates": request.candidates, "weights": request.readout.weights, "intercept": request.readout.intercept}
    decision = {**read, "draw": draw, "logprobs": longest.logprobs, **outcomes}
    params.extra_args = {**(params.extra_args or {}), _DECISION: decision}
    return params


def _outcome(outcome: Outcome, eos: tuple[int, ...]) -> Mapping[str, Any]:
    generation = outcome.generation
    if generation is None:
        raise ValueError("An outcome without a generation cannot go on.")
    return {
        "injected_ids": outcome.injected_ids,
        "max_tokens": generation.max_tokens,
        "min_tokens": generation.min_tokens,
        "stop_token_ids": _stop_token_ids(generation, eos),
        "has_grammar": generation.structural_tag is not None,
    }


def decision_of(params: SamplingParams) -> Mapping[str, Any] | None:
    """Return the decision that `decision_params` has put into a request's parameters; None where there is none."""
    return (params.extra_args or {}).get(_DECISION)


def delay_of(params: SamplingParams) -> float:
    """Return the seconds that a request is due after its arrival; less than 0 where it was due before."""
    return (params.extra_args or {}).get(_DELAY, 0.0)


def outcome_params(params: SamplingParams, decision: Mapping[str, Any], outcome: Mapping[str, Any]) -> SamplingParams:
    """Return the parameters of the generation that follows an outcome of the decision."""
    end_ids = {params._eos_token_id} - {None} | params._all_stop_token_ids - set(params.stop_token_ids or ())
    return msgspec.structs.replace(
        params,
        max_tokens=outcome["max_tokens"],
        min_tokens=outcome["min_tokens"],
        stop_token_ids=outcome["stop_token_ids"],
        logprobs=decision["logprobs"],
        logprob_token_ids=None,
        structured_outputs=params.structured_outputs if outcome["has_grammar"] else None,
        extra_args=None,
        _all_stop_token_ids=end_ids | set(outcome["stop_token_ids"]),
    )
