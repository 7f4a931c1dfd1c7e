"""The `remote` engine: the completions endpoint of a vLLM server, or of a router to several, with token ids.

This process loads no weights.
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
from autotool_server.engines.base import EngineRequest, Score, TokenDelta, TokenLogprob, check_length, grammar_error
from autotool_server.engines.vllm_errors import request_error, shorten

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

UNSUPPORTED_SERVER = (
    "The remote server does not return token ids and the log-probabilities of given tokens from /v1/completions; "
    "it must be vLLM 0.32 or newer, or a router that passes return_token_ids and logprob_token_ids on to one."
)
GENERATION_FAILED = "Internal server error"
"""What vLLM says when it has ended a request by itself, as one whose grammar it cannot compile."""
REQUEST_ERROR_STATUSES = ("400", "413", "422")  # all other errors are faults of a server or its settings
CONNECT_SECONDS = 5.0
HEALTH_SECONDS = 5.0


class RemoteEngine:
    """An engine of a remote vLLM server.

    `base_url`: the server's root or its `/v1`. `model`: a name that is required if the server has several. `tokenizer`: a
    local folder or hub id; the default is the checkpoint that the server reports. `timeout`: the seconds without a byte from
    the server, the time in its queue included, after which a request fails.
    """

    name = "remote"
    in_process = False

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
        # For logs and start-up errors, without the user and the password that a URL may have.
        self._display_url = re.sub(r"^([^/]*//)?[^/]*@", r"\1", self._root)
        self._requested_model = model
        self._tokenizer_source = tokenizer
        self._api_key = api_key
        self._timeout = timeout
        self._opened_client: AsyncOpenAI | None = None
        self._tokenizer: Tokenizer | None = None
        self.checkpoint = ""
        self.model_name = ""
        self.max_model_len = 0
        self.eos_token_ids: tuple[int, ...] = ()
        self._in_flight = 0

    @property
    def _client(self) -> AsyncOpenAI:
        if self._opened_client is None:
            raise EngineError("The remote engine is not running.")
        return self._opened_client

    @property
    def device(self) -> str:
        return self._display_url

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise EngineError("The remote engine is not running.")
        return self._tokenizer

    async def start(self) -> None:
        self._opened_client = AsyncOpenAI(
            base_url=f"{self._root}/v1",
            api_key=self._api_key or "none",  # the library requires one even if the server does not
            timeout=openai.Timeout(self._timeout, connect=CONNECT_SECONDS),
            max_retries=1,  # for a kept-alive connection that the server closes at the moment of reuse
        )
        try:
            await self._read_server_info()
        except BaseException as error:
            await self.stop()
            if isinstance(error, AutoToolError):
                raise EngineError(f"The remote engine at {self._display_url} did not start: {error}") from error
            raise

    async def _read_server_info(self) -> None:
        with self._convert_errors():
            models = await self._client.get("/models", cast_to=object)
        card = _choose_model(models.get("data", []) if isinstance(models, dict) else [], self._requested_model)
        self.model_name = card["id"]
        self.max_model_len = card.get("max_model_len") or 0
        if not self.max_model_len:
            raise EngineError("The remote server's /v1/models does not report max_model_len; it must be vLLM.")
        self.checkpoint = self._tokenizer_source or card.get("root") or card["id"]
        self._tokenizer, self.eos_token_ids = await asyncio.to_thread(_load_tokenizer, self.checkpoint)
        probe = self.eos_token_ids[:1] or (0,)
        await self.score("probe", probe, probe)

    async def stop(self) -> None:
        client, self._opened_client = self._opened_client, None
        if client is not None:
            await client.close()

    async def health(self) -> None:
        with self._convert_errors():
            await self._client.get(f"{self._root}/health", cast_to=str, options={"timeout": HEALTH_SECONDS, "max_retries": 0})

    def in_flight(self) -> int:
        return self._in_flight

    async def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        check_length(len(request.prompt_ids), request.max_tokens, self.max_model_len)
        last: TokenDelta | None = None
        cached = 0
        with self._counted(), self._convert_errors(has_grammar=request.structural_tag is not None):
            async with await self._stream(_body(request, self.model_name, self.eos_token_ids)) as chunks:
                async for chunk in chunks:
                    cached = _cached_tokens(chunk) or cached
                    for choice in chunk["choices"]:
                        last = _delta(choice, request.logprobs)
                        if last.finish_reason is None and last.token_ids:
                            yield last
        if last is None or last.finish_reason is None:
            raise EngineError("The remote server ended the stream before the generation was finished.")
        # The last delta is yielded here, because the server reports its cached tokens only after the last token.
        yield replace(last, cached_tokens=cached)

    async def _stream(self, body: Json) -> AsyncStream[Any]:
        # Plain JSON: the library's typed chunks take four times the processor time for each token.
        return await self._client.post("/completions", body=body, cast_to=object, stream=True, stream_cls=AsyncStream[Any])

    async def score(self, request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...]) -> Score:
        check_length(len(prompt_ids), 1, self.max_model_len)
        body = _score_body(request_id, prompt_ids, candidates, self.model_name)
        with self._counted(), self._convert_errors():
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
    def _convert_errors(self, *, has_grammar: bool = False) -> Generator[None]:
        try:
            yield
        except APIError as error:
            # An error within a stream has its status in the body.
            status = str(getattr(error, "status_code", None) or error.code or "no answer")
            message = str((isinstance(error.body, dict) and error.body.get("message")) or error.message)
            if status in REQUEST_ERROR_STATUSES:
                raise request_error(message, error.param) from None
            if has_grammar and message == GENERATION_FAILED:
                raise grammar_error() from None
            logger.warning("The remote server %s failed (%s): %s", self._display_url, status, message)
            raise EngineError(f"The remote server failed ({status}): {shorten(message)}") from error
        except json.JSONDecodeError as error:
            logger.warning("The remote server %s does not answer in JSON.", self._display_url)
            raise EngineError("The remote server does not answer in JSON.") from error
        except RuntimeError as error:
            # The HTTP client raises it for a request that begins while `stop` closes the client.
            if self._opened_client is None:
                raise EngineError("The remote engine is not running.") from error
            raise


def _choose_model(cards: Sequence[Json], requested: str | None) -> Json:
    """Return the card of the requested model, or of the only one. Adapters, which have a parent, must be named."""
    matches = [card for card in cards if card.get("id") == requested or (requested is None and not card.get("parent"))]
    if len(matches) != 1:
        served = ", ".join(str(card.get("id")) for card in cards) or "none"
        raise EngineError(f"Name one of the models that the remote server serves; it serves {served}.")
    return matches[0]


def _load_tokenizer(source: str) -> tuple[Tokenizer, tuple[int, ...]]:
    from autotool_server.engines import checkpoint  # noqa: PLC0415 imports transformers, which takes seconds

    tokenizer = checkpoint.load_tokenizer(source)
    eos = checkpoint.eos_token_ids(checkpoint.configured_eos(source), tokenizer)
    return cast("Tokenizer", tokenizer), eos


def _body(request: EngineRequest, model: str, eos: tuple[int, ...]) -> Json:
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
        raise EngineError(f"The remote server ended the generation early: {finish_reason}.")
    token_ids = choice["token_ids"]
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
        logprobs.append(TokenLogprob(token, logprob, tuple(ranked[:alternatives])))
    return tuple(logprobs)


def _by_token_id(top: Mapping[str, float]) -> dict[int, float]:
    """Return log-probabilities by token id. Tokens are named `token_id:17`, but by their text on servers that are too old."""
    return {int(name[9:]): logprob for name, logprob in top.items() if name.startswith("token_id:")}


def _candidate_logprobs(choice: Json, candidates: tuple[int, ...]) -> tuple[float, ...]:
    [top] = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
    reported = _by_token_id(top) if choice.get("token_ids") else {}
    if not reported.keys() >= set(candidates):
        raise EngineError(UNSUPPORTED_SERVER)
    return tuple(reported[token] for token in candidates)


def _cached_tokens(answer: Json) -> int:
    """Return the cached prompt tokens. Only a server with --enable-prompt-tokens-details reports them."""
    usage = answer.get("usage") or {}
    return (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
