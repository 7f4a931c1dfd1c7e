"""Bodies for a vLLM server's completions endpoint, and what its answers say.

Nothing of an answer is taken for granted: behind the URL may be another server, a proxy's page or a broken version.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from autotool_core.errors import EngineError, UpstreamError
from autotool_server.engines.base import EngineRequest, TokenDelta, TokenLogprob

P = ParamSpec("P")
T = TypeVar("T")
Json = Mapping[str, Any]

UNSUPPORTED_SERVER = (
    "The remote server does not return token ids and the log-probabilities of given tokens from /v1/completions; "
    "it must be vLLM 0.32 or newer, or a router that passes return_token_ids and logprob_token_ids on to one."
)
MAX_CHUNKS_AFTER = 4
"""Chunks after the last token that are read, of which one has the usage. A stream that goes on is not read to its end."""
MAX_TOKEN_ID = 2**31


def _checked(read: Callable[P, T]) -> Callable[P, T]:
    """Return a function that raises UpstreamError for an answer of another form than the one that it reads."""

    @wraps(read)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
            raise UpstreamError(UNSUPPORTED_SERVER) from None

    return checked


@_checked
def choose_model(models: Any, requested: str | None) -> Json:
    """Return the card of the requested model, or of the only one. Adapters, which have a parent, must be named."""
    cards = models.get("data", []) if isinstance(models, dict) else []
    matches = [card for card in cards if card.get("id") == requested or (requested is None and not card.get("parent"))]
    if len(matches) != 1:
        served = ", ".join(str(card.get("id")) for card in cards) or "none"
        raise EngineError(f"Name one of the models that the remote server serves; it serves {served}.")
    if not isinstance(matches[0]["id"], str):
        raise TypeError
    return matches[0]


def completion_body(request: EngineRequest, model: str, eos: tuple[int, ...]) -> Json:
    """Return the body with every sampling field: a missing one would default to the server's generation config."""
    sampling, tag = request.sampling, request.structural_tag
    return {
        "model": model,
        "request_id": request.request_id,
        "prompt": list(request.prompt_ids),
        "max_tokens": request.max_tokens,
        # Only the request's stop tokens stop. A grammar ends with an end-of-sequence token, which must stop too.
        "ignore_eos": True,
        "stop_token_ids": list(request.stop_token_ids + (eos if tag else ())),
        "min_tokens": request.min_tokens,
        "priority": request.priority,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repetition_penalty": sampling.repetition_penalty,
        "seed": sampling.seed,
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias.items()} or None,
        "logprobs": request.logprobs,
        "structured_outputs": {"structural_tag": tag} if tag else None,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "skip_special_tokens": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def score_body(request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...], model: str, priority: int = 0) -> Json:
    """Return the body of a request for the log-probabilities of candidates for the next token."""
    return {
        "model": model,
        "request_id": request_id,
        "prompt": list(prompt_ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "allowed_token_ids": list(candidates),
        "logprobs": len(candidates),
        "logprob_token_ids": list(candidates),
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "priority": priority,
    }


class Reading:
    """Reads the stream of one generation, no more tokens than the request allows."""

    def __init__(self, request: EngineRequest, eos: tuple[int, ...]) -> None:
        self._alternatives = request.logprobs
        self._stop_token_ids = request.stop_token_ids + (eos if request.structural_tag else ())
        self._num_left = request.max_tokens
        self._num_after = 0
        self._cached = 0
        self._last: TokenDelta | None = None
        self.is_over = False
        """Whether the rest of the stream is not to be read."""

    @_checked
    def take(self, chunk: Any) -> TokenDelta | None:
        """Return the tokens of a chunk; None if it has none, and of the last ones, which `last` returns."""
        self._cached = cached_tokens(chunk) or self._cached
        if self._last is not None:
            self._num_after += 1
            self.is_over = self._num_after >= MAX_CHUNKS_AFTER
            return None
        for choice in chunk["choices"][:1]:
            delta = self._limited(_delta(choice, self._alternatives))
            if delta.finish_reason is None:
                return delta if delta.token_ids else None
            # Held back, because the server reports the cached tokens only after it.
            self._last = delta
        return None

    def last(self) -> TokenDelta:
        """Return the last tokens. Raises UpstreamError if the stream has ended without an end of the generation."""
        if self._last is None:
            raise UpstreamError("The remote server ended the stream before the generation was finished.")
        return replace(self._last, cached_tokens=self._cached)

    def _limited(self, delta: TokenDelta) -> TokenDelta:
        """Return a delta that ends the generation where the server does not, once it has all tokens that it may have."""
        self._num_left -= len(delta.token_ids)
        if self._num_left > 0 or (self._num_left == 0 and delta.finish_reason is not None):
            return delta
        self.is_over = True
        kept = len(delta.token_ids) + self._num_left
        token_ids, logprobs = delta.token_ids[:kept], delta.logprobs
        finish_reason = "stop" if token_ids[-1] in self._stop_token_ids else "length"
        return TokenDelta(token_ids, logprobs[:kept] if logprobs is not None else None, finish_reason)


def _delta(choice: Json, alternatives: int | None) -> TokenDelta:
    finish_reason = choice.get("finish_reason")
    if finish_reason not in ("stop", "length", None):
        raise EngineError(f"The remote server ended the generation early: {finish_reason}.")
    token_ids = choice["token_ids"]
    if not isinstance(token_ids, list) or not all(type(token) is int and 0 <= token < MAX_TOKEN_ID for token in token_ids):
        raise TypeError
    return TokenDelta(
        token_ids=token_ids,
        logprobs=_logprobs(token_ids, choice["logprobs"], alternatives) if alternatives is not None else None,
        finish_reason=finish_reason,
    )


def _logprobs(token_ids: Sequence[int], reported: Json, alternatives: int) -> tuple[TokenLogprob, ...]:
    logprobs: list[TokenLogprob] = []
    for token, logprob, top in zip(token_ids, reported["token_logprobs"], reported["top_logprobs"], strict=True):
        # The server lists the decoded token first, regardless of its rank.
        ranked = sorted(_by_token_id(top).items(), key=lambda pair: -pair[1])
        logprobs.append(TokenLogprob(token, _finite(logprob), tuple(ranked[:alternatives])))
    return tuple(logprobs)


def _by_token_id(top: Mapping[str, float]) -> dict[int, float]:
    """Return log-probabilities by token id. Tokens are named `token_id:17`, but by their text on servers that are too old."""
    return {int(name[9:]): _finite(logprob) for name, logprob in top.items() if name.startswith("token_id:")}


def _finite(number: Any) -> float:
    """Return a number. Raises ValueError or TypeError if it is none, or has no place in JSON."""
    if not math.isfinite(number):
        raise ValueError
    return float(number)


@_checked
def candidate_logprobs(answer: Any, candidates: tuple[int, ...]) -> tuple[float, ...]:
    """Return the log-probability of each candidate in the answer to `score_body`."""
    choice = answer["choices"][0]
    [top] = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
    reported = _by_token_id(top) if choice.get("token_ids") else {}
    if not reported.keys() >= set(candidates):
        raise UpstreamError(UNSUPPORTED_SERVER)
    return tuple(reported[token] for token in candidates)


@_checked
def cached_tokens(answer: Any) -> int:
    """Return the cached prompt tokens. Only a server with --enable-prompt-tokens-details reports them."""
    usage = answer.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return cached if isinstance(cached, int) else 0
