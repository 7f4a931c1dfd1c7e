"""Sample the next token of one request from the model's logits."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import ResolvedMode
from autotool_server.engines.base import DecisionRequest, EngineRequest, Sampling, Score, TokenLogprob
from autotool_server.engines.transformers.grammar import Grammar

# As in vLLM: dividing by a lower temperature overflows.
GREEDY_BELOW = 1e-5
SEEDS = range(-(2**63), 2**63)


class TokenSampler(Protocol):
    """Samples the tokens of one request, in the thread that runs the model."""

    @property
    def is_plain(self) -> bool:
        """Whether every next token is the likeliest one, so that `sample` need not be called."""
        ...

    def sample(self, logits: torch.Tensor) -> int:
        """Return the next token from the raw logits (shape: vocabulary; float32), which may be changed in place."""
        ...


@dataclass(frozen=True, slots=True)
class Continuation:
    """How a request goes on after its decision."""

    token_ids: Sequence[int]
    """The decided token and what is injected after it: the next part of the prompt, at least one token."""
    max_tokens: int
    stop_token_ids: Sequence[int]
    sampler: "Sampler"


class Decider(Protocol):
    """Settles the decision of one request, in the thread that runs the model."""

    def decide(self, logits: torch.Tensor) -> Continuation:
        """Return how the request goes on, by the raw logits after its prompt (shape: vocabulary; float32)."""
        ...


class Settling:
    """Draws the mode of a request by the scores of its candidates, and goes on with the continuation of that mode.

    `logprobs` and `settled` are the scores and the continuation, once the decision is made.
    """

    settled: Continuation

    def __init__(self, request: DecisionRequest, continuations: Mapping[ResolvedMode, Continuation]) -> None:
        self._request = request
        self._continuations = continuations
        self.logprobs: tuple[float, ...] = ()

    def decide(self, logits: torch.Tensor) -> Continuation:
        self.logprobs = tuple(logits[list(self._request.candidates)].tolist())
        self.settled = self._continuations[self._request.settle(Score(self.logprobs)).resolved]
        return self.settled


class CandidateScorer:
    """Records the logits of the candidates: log-probabilities up to a constant. The sampled token is arbitrary."""

    is_plain = False

    def __init__(self, candidates: tuple[int, ...]) -> None:
        self._candidates = candidates
        self.logprobs: tuple[float, ...] = ()

    def sample(self, logits: torch.Tensor) -> int:
        self.logprobs = tuple(logits[list(self._candidates)].tolist())
        return self._candidates[0]


class Sampler:
    """Samples by the request's `Sampling`, with the steps in vLLM's order (`vllm/v1/sample/sampler.py`).

    Raises InvalidRequestError for a seed or a biased token out of range.
    """

    def __init__(
        self,
        request: EngineRequest,
        vocab_size: int,
        device: torch.device,
        grammar: Grammar | None,
        stop_token_ids: Sequence[int] = (),
    ) -> None:
        sampling = request.sampling
        _check(sampling, vocab_size)
        self._greedy = sampling.temperature < GREEDY_BELOW
        self._bias = Bias(sampling.logit_bias, device) if sampling.logit_bias else None
        self._penalties = Penalties(sampling, request.prompt_ids, vocab_size, device) if _penalised(sampling) else None
        self._grammar = grammar
        self._stop_ids = sorted(set(stop_token_ids))
        self._tokens_before_stop = request.min_tokens
        self._warpers = _warpers(sampling)
        self._generator = None if sampling.seed is None else torch.Generator(device).manual_seed(sampling.seed)
        self._alternatives = request.logprobs
        self.has_logprobs = request.logprobs is not None
        self.is_plain = self._greedy and not (
            self._bias or self._penalties or self._grammar or request.min_tokens or request.logprobs is not None
        )
        self.logprobs: deque[TokenLogprob] = deque()
        """Log-probabilities of the sampled tokens that are not yet reported, oldest first. Empty unless requested."""

    def sample(self, logits: torch.Tensor) -> int:
        raw = logits.log_softmax(-1) if self._alternatives is not None else None
        token = self._draw(self._constrain(logits))
        if raw is not None and self._alternatives is not None:
            self.logprobs.append(_logprob(raw, token, self._alternatives))
        self._tokens_before_stop -= 1
        if self._penalties is not None:
            self._penalties.count(token)
        if self._grammar is not None:
            self._grammar.accept(token)
        return token

    def _constrain(self, logits: torch.Tensor) -> torch.Tensor:
        if self._bias is not None:
            self._bias.apply(logits)
        if self._penalties is not None:
            logits = self._penalties.apply(logits)
        if self._grammar is not None:
            self._grammar.mask(logits)
        return self._without_stops(logits) if self._tokens_before_stop > 0 and self._stop_ids else logits

    def _without_stops(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits (shape: vocabulary) without stop tokens, unless a grammar allows nothing else."""
        open_logits = logits.index_fill(0, torch.tensor(self._stop_ids, device=logits.device), -torch.inf)
        return open_logits if open_logits.isfinite().any() else logits

    def _draw(self, logits: torch.Tensor) -> int:
        if self._greedy:
            return int(logits.argmax())
        # These warpers do not read the history, so it is empty.
        warped = self._warpers(torch.empty(0, dtype=torch.long), logits.unsqueeze(0))  # pyright: ignore[reportArgumentType]
        return int(torch.multinomial(warped.softmax(-1), 1, generator=self._generator))


class Bias:
    """Biases of tokens as tensors: a loop over them at every token would hold up all requests of the batch."""

    def __init__(self, biases: Mapping[int, float], device: torch.device) -> None:
        self._tokens = torch.tensor(list(biases), device=device)
        self._values = torch.tensor(list(biases.values()), dtype=torch.float32, device=device)

    def apply(self, logits: torch.Tensor) -> None:
        """Add the biases to logits (shape: vocabulary; float32)."""
        logits.index_add_(0, self._tokens, self._values)


class Penalties:
    """Penalties as in vLLM: presence and frequency count output tokens alone, repetition counts the prompt's too."""

    def __init__(self, sampling: Sampling, prompt_ids: Sequence[int], vocab_size: int, device: torch.device) -> None:
        self._sampling = sampling
        self._counts = torch.zeros(vocab_size, device=device)
        self._seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self._seen[list(prompt_ids)] = True

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the penalised logits (shape: vocabulary)."""
        factor = self._sampling.repetition_penalty
        repeated = torch.where(logits > 0, logits / factor, logits * factor)
        logits = torch.where(self._seen, repeated, logits)
        logits -= self._sampling.frequency_penalty * self._counts
        logits -= self._sampling.presence_penalty * (self._counts > 0)
        return logits

    def count(self, token: int) -> None:
        """Count an output token."""
        self._counts[token] += 1
        self._seen[token] = True


def _check(sampling: Sampling, vocab_size: int) -> None:
    bias = sampling.logit_bias
    if bias and not 0 <= min(bias) <= max(bias) < vocab_size:
        raise InvalidRequestError(
            f"logit_bias names a token that the model does not have; token ids run from 0 to {vocab_size - 1}.", "logit_bias"
        )
    if sampling.seed is not None and sampling.seed not in SEEDS:
        raise InvalidRequestError("seed must be a 64-bit integer.", "seed")


def _penalised(sampling: Sampling) -> bool:
    return bool(sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1)


def _warpers(sampling: Sampling) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if sampling.temperature not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.min_p > 0:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return warpers


def _logprob(raw: torch.Tensor, token: int, alternatives: int) -> TokenLogprob:
    values, ids = raw.topk(min(alternatives, raw.numel()))
    return TokenLogprob(token, float(raw[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))
