"""What vLLM's outputs are as scores and deltas of an engine. Its types are named alone: this module does not import vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotool_core.errors import EngineError
from autotool_server.engines.base import FinishReason, Score, TokenDelta, TokenLogprob, grammar_error

if TYPE_CHECKING:
    from vllm import RequestOutput
    from vllm.outputs import CompletionOutput


def score_of(output: RequestOutput, candidates: tuple[int, ...]) -> Score:
    """Return the score that the first token of an output has."""
    position = (output.outputs[0].logprobs or [{}])[0] or {}
    return Score(tuple(position[token].logprob for token in candidates), output.num_cached_tokens or 0)


def delta_after_decision(output: RequestOutput, alternatives: int | None) -> TokenDelta | None:
    """Return the tokens after the decision token that came with it, since nobody had read it yet; None if none did."""
    completion = output.outputs[0]
    completion.token_ids, completion.logprobs = completion.token_ids[1:], (completion.logprobs or [])[1:]
    return delta_of(output, alternatives, first=False) if completion.token_ids else None


def delta_of(output: RequestOutput, alternatives: int | None, *, first: bool) -> TokenDelta:
    """Return the delta of an output. `alternatives`: those to report for each token, None for no log-probabilities."""
    completion = output.outputs[0]
    return TokenDelta(
        token_ids=completion.token_ids,
        logprobs=_logprobs(completion, alternatives) if alternatives is not None else None,
        finish_reason=_FINISH[completion.finish_reason] if completion.finish_reason else None,
        cached_tokens=(output.num_cached_tokens or 0) if first else 0,
    )


_FINISH: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}


def raise_if_aborted(finish_reason: str | None, *, has_grammar: bool) -> None:
    """Raise EngineError, or InvalidRequestError where a grammar is the likely cause, if vLLM has ended a request by itself."""
    if finish_reason == "abort":
        raise EngineError("The engine stopped before the generation was finished.")
    if finish_reason == "error" and has_grammar:
        # vLLM ends a request so whose grammar it cannot compile, or whose grammar allows none of the tokens.
        raise grammar_error()
    if finish_reason == "error":
        raise EngineError("The engine failed on this request; its log has the cause.")


def _logprobs(completion: CompletionOutput, alternatives: int) -> tuple[TokenLogprob, ...]:
    logprobs: list[TokenLogprob] = []
    for token, position in zip(completion.token_ids, completion.logprobs or [], strict=True):
        reported = {candidate: entry.logprob for candidate, entry in (position or {}).items()}
        # vLLM lists the decoded token first, regardless of its rank.
        ranked = sorted(reported.items(), key=lambda pair: -pair[1])
        logprobs.append(TokenLogprob(token, reported[token], tuple(ranked[:alternatives])))
    return tuple(logprobs)
