"""Any vLLM server, or a router before many of them, by its completions endpoint with token ids.

This process then holds no weights: it is a thin front, and the fleet is vLLM's.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import openai
from openai import APIError, AsyncOpenAI, AsyncStream

from autotool_core.errors import AutoToolError, EngineError
from autotool_core.tokenizer import Tokenizer
from autotool_server.engines.base import EngineRequest, Score, TokenDelta, TokenLogprob, check_length
from autotool_server.engines.vllm_errors import refusal, shortened

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

OUTDATED = (
    "The remote server does not return token ids and the log-probabilities of given tokens from /v1/completions; "
    "it must be vLLM 0.32 or newer, or a router that passes return_token_ids and logprob_token_ids on to one."
)
REFUSALS = ("400", "413", "422")  # every other status is about the server or how this one is set up, not about the request
CONNECT_SECONDS = 5.0
HEALTH_SECONDS = 5.0


class RemoteEngine:
    """`base_url` is the server's root or its `/v1`; `model` is needed where it serves several.

    `tokenizer` is a local folder or hub name, by default the one that the server itself was started with. `timeout` is
    how many seconds may pass without a byte from the server, a request's wait in its queue included.
    """

    name = "remote"

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        tokenizer: str | None = None,
        api_key: str | None = None,
        timeout: float = 600.0,
    ) -> None:
        self._root = base_url.rstrip("/").removesuffix("/v1")
        # For the operator alone, and not even there with the user and the password that a URL may have.
        self._shown = re.sub(r"^([^/]*//)?[^/]*@", r"\1", self._root)
        self._asked_model = model
        self._tokenizer_source = tokenizer
        self._api_key = api_key
        self._timeout = timeout
        self._open: AsyncOpenAI | None = None
        self._tokenizer: Tokenizer | None = None
        self.checkpoint = ""
        self.model_name = ""
        self.max_model_len = 0
        self.eos_token_ids: tuple[int, ...] = ()
        self._in_flight = 0

    @property
    def _client(self) -> AsyncOpenAI:
        if self._open is None:
            raise EngineError("The remote engine is not running.")
        return self._open

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise EngineError("The remote engine is not running.")
        return self._tokenizer

    async def start(self) -> None:
        self._open = AsyncOpenAI(
            base_url=f"{self._root}/v1",
            api_key=self._api_key or "none",  # the library wants one even where the server does not
            timeout=openai.Timeout(self._timeout, connect=CONNECT_SECONDS),
            max_retries=1,  # covers a kept-alive connection that the server closes just as it is used again
        )
        try:
            await self._learn()
        except BaseException as error:
            await self.stop()
            if isinstance(error, AutoToolError):
                raise EngineError(f"The remote engine at {self._shown} did not start: {error}") from error
            raise

    async def _learn(self) -> None:
        with self._as_our_errors():
            listed = await self._client.get("/models", cast_to=object)
        card = _chosen_model(listed.get("data", []) if isinstance(listed, dict) else [], self._asked_model)
        self.model_name = card["id"]
        self.max_model_len = card.get("max_model_len") or 0
        if not self.max_model_len:
            raise EngineError("The remote server's /v1/models does not tell max_model_len; it must be vLLM.")
        self.checkpoint = self._tokenizer_source or card.get("root") or card["id"]
        self._tokenizer, self.eos_token_ids = await asyncio.to_thread(_load_tokenizer, self.checkpoint)
        probe = self.eos_token_ids[:1] or (0,)
        await self.score("probe", probe, probe)

    async def stop(self) -> None:
        client, self._open = self._open, None
        if client is not None:
            await client.close()

    async def health(self) -> None:
        with self._as_our_errors():
            await self._client.get(f"{self._root}/health", cast_to=str, options={"timeout": HEALTH_SECONDS, "max_retries": 0})

    def in_flight(self) -> int:
        return self._in_flight

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        check_length(len(request.prompt_ids), request.max_tokens, self.max_model_len)
        last: TokenDelta | None = None
        cached = 0
        with self._counted(), self._as_our_errors():
            async with await self._stream(_body(request, self.model_name, self.eos_token_ids)) as chunks:
                async for chunk in chunks:
                    cached = _cached_tokens(chunk) or cached
                    for choice in chunk["choices"]:
                        last = _delta(choice, request.logprobs)
                        if last.finish_reason is None and last.token_ids:
                            yield last
        if last is None or last.finish_reason is None:
            raise EngineError("The remote server ended the stream before the generation was finished.")
        # Held back until here, because the server tells what its cache held only after the last token.
        yield replace(last, cached_tokens=cached)

    async def _stream(self, body: Json) -> AsyncStream[Any]:
        # Plain JSON: the library's typed chunks cost four times the processor time for each token.
        return await self._client.post("/completions", body=body, cast_to=object, stream=True, stream_cls=AsyncStream[Any])

    async def score(self, request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...]) -> Score:
        check_length(len(prompt_ids), 1, self.max_model_len)
        body = _score_body(request_id, prompt_ids, candidates, self.model_name)
        with self._counted(), self._as_our_errors():
            answer = cast("Json", await self._client.post("/completions", body=body, cast_to=object))
        return Score(_candidate_logprobs(answer["choices"][0], candidates), _cached_tokens(answer))

    @contextmanager
    def _counted(self) -> Generator[None]:
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    @contextmanager
    def _as_our_errors(self) -> Generator[None]:
        try:
            yield
        except APIError as error:
            # Once a stream runs, an error's status is in its body.
            status = str(getattr(error, "status_code", None) or error.code or "no answer")
            said = str((isinstance(error.body, dict) and error.body.get("message")) or error.message)
            if status in REFUSALS:
                raise refusal(said, error.param) from None
            logger.warning("The remote server %s failed (%s): %s", self._shown, status, said)
            raise EngineError(f"The remote server failed ({status}): {shortened(said)}") from error
        except json.JSONDecodeError as error:
            logger.warning("The remote server %s does not answer in JSON.", self._shown)
            raise EngineError("The remote server does not answer in JSON.") from error


def _chosen_model(cards: Sequence[Json], asked: str | None) -> Json:
    """The model asked for, or the only one; adapters, which name a parent, are chosen only by name."""
    found = [card for card in cards if card.get("id") == asked or (asked is None and not card.get("parent"))]
    if len(found) != 1:
        served = ", ".join(str(card.get("id")) for card in cards) or "none"
        raise EngineError(f"Name one of the models that the remote server serves; it serves {served}.")
    return found[0]


def _load_tokenizer(source: str) -> tuple[Tokenizer, tuple[int, ...]]:
    from autotool_server.engines import checkpoint  # noqa: PLC0415 - imports transformers, which takes seconds

    tokenizer = checkpoint.load_tokenizer(source)
    eos = checkpoint.eos_token_ids(checkpoint.configured_eos(source), tokenizer)
    return cast("Tokenizer", tokenizer), eos


def _body(request: EngineRequest, model: str, eos: tuple[int, ...]) -> Json:
    """Names every sampling field, because what is left out is filled in from the server's generation config."""
    sampling, tag = request.sampling, request.structural_tag
    return {
        "model": model,
        "request_id": request.request_id,
        "prompt": list(request.prompt_ids),
        "max_tokens": request.max_tokens,
        # Only the request's stop tokens stop; a complete grammar is told by an end-of-sequence token, and by it alone.
        "ignore_eos": True,
        "stop_token_ids": list(request.stop_token_ids + (eos if tag else ())),
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


def _score_body(request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...], model: str) -> Json:
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
    }


def _delta(choice: Json, alternatives: int | None) -> TokenDelta:
    finish_reason = choice.get("finish_reason")
    if finish_reason not in ("stop", "length", None):
        raise EngineError(f"The remote server broke the generation off: {finish_reason}.")
    token_ids = choice["token_ids"]
    return TokenDelta(
        token_ids=token_ids,
        logprobs=_logprobs(token_ids, choice["logprobs"], alternatives) if alternatives is not None else None,
        finish_reason=finish_reason,
    )


def _logprobs(token_ids: Sequence[int], reported: Json, alternatives: int) -> tuple[TokenLogprob, ...]:
    found: list[TokenLogprob] = []
    for token, logprob, named in zip(token_ids, reported["token_logprobs"], reported["top_logprobs"], strict=True):
        # The decoded token stands first, whatever its rank, and then its alternatives.
        ranked = sorted(_by_token_id(named).items(), key=lambda pair: -pair[1])
        found.append(TokenLogprob(token, logprob, tuple(ranked[:alternatives])))
    return tuple(found)


def _by_token_id(named: Mapping[str, float]) -> dict[int, float]:
    """`return_tokens_as_token_ids` names tokens `token_id:17`; a server that does not know it writes their text."""
    return {int(name[9:]): logprob for name, logprob in named.items() if name.startswith("token_id:")}


def _candidate_logprobs(choice: Json, candidates: tuple[int, ...]) -> tuple[float, ...]:
    [named] = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
    known = _by_token_id(named) if choice.get("token_ids") else {}
    if not known.keys() >= set(candidates):
        raise EngineError(OUTDATED)
    return tuple(known[token] for token in candidates)


def _cached_tokens(answer: Json) -> int:
    """Told only by a server that runs with --enable-prompt-tokens-details."""
    usage = answer.get("usage") or {}
    return (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
