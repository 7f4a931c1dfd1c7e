"""The `remote` engine: the completions endpoint of a vLLM server, or of a router to several, with token ids.

This process loads no weights.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import openai
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, AsyncOpenAI, AsyncStream

from autotool_core.errors import AutoToolError, EngineError, UpstreamError
from autotool_core.tokenizer import Tokenizer
from autotool_server.breaker import PAUSE_SECONDS, Breaker, BreakerOpenError
from autotool_server.engines.base import (
    Capacity,
    DecisionRequest,
    EngineRequest,
    Score,
    TokenDelta,
    check_length,
    decide_in_two,
    grammar_error,
)
from autotool_server.engines.remote_answers import (
    Json,
    Reading,
    cached_tokens,
    candidate_logprobs,
    choose_model,
    completion_body,
    score_body,
)
from autotool_server.engines.vllm_errors import request_error, shorten

logger = logging.getLogger(__name__)

GENERATION_FAILED = "Internal server error"
"""What vLLM says when it has ended a request by itself, as one whose grammar it cannot compile."""
REQUEST_ERROR_STATUSES = ("400", "413", "422")  # all other errors are faults of a server or its settings
UPSTREAM_STATUSES = ("401", "402", "403", "404", "405", "407")
"""Statuses of a server that is the wrong one, or does not take this server's key (--remote-api-key)."""
HEALTH_SECONDS = 5.0
MODELS_SECONDS = 30.0
"""The time that a server gets to say what it serves, for which it does not need its engine."""
MAX_NUM_SEQS = 256
"""vLLM's default on most machines. A server does not say what it holds."""


class RemoteEngine:
    """An engine of a remote vLLM server.

    `base_url`: the server's root or its `/v1`. `model`: a name that is required if the server has several. `tokenizer`: a
    local folder or hub id; the default is the checkpoint that the server reports. `timeout`: the seconds without a byte from
    the server, the time in its queue included, after which a request fails. `connect_timeout`: the seconds until a connection.
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
        connect_timeout: float = 15.0,
    ) -> None:
        self._root = base_url.rstrip("/").removesuffix("/v1")
        # For logs and start-up errors, without the user and the password that a URL may have.
        self._display_url = re.sub(r"^([^/]*//)?[^/]*@", r"\1", self._root)
        self._requested_model = model
        self._tokenizer_source = tokenizer
        self._api_key = api_key
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._breaker = Breaker()
        self._opened_client: AsyncOpenAI | None = None
        self._tokenizer: Tokenizer | None = None
        self.checkpoint = ""
        self.model_name = ""
        self.max_model_len = 0
        self.eos_token_ids: tuple[int, ...] = ()
        self.capacity = Capacity(MAX_NUM_SEQS)
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
            timeout=openai.Timeout(self._timeout, connect=self._connect_timeout),
            max_retries=0,  # the library would also send a generation again that has timed out
        )
        try:
            await self._read_server_info()
        except BaseException as error:
            await self.stop()
            if isinstance(error, AutoToolError):
                raise EngineError(f"The remote engine at {self._display_url} did not start: {error}") from error
            raise

    async def _read_server_info(self) -> None:
        limit = openai.Timeout(min(MODELS_SECONDS, self._timeout), connect=self._connect_timeout)
        with self._convert_errors():
            models = await self._client.get("/models", cast_to=object, options={"timeout": limit})
        card = choose_model(models, self._requested_model)
        self.model_name = card["id"]
        self.max_model_len = card.get("max_model_len") or 0
        if not isinstance(self.max_model_len, int) or self.max_model_len < 1:
            raise EngineError("The remote server's /v1/models does not report max_model_len; it must be vLLM.")
        self.checkpoint = self._tokenizer_source or str(card.get("root") or card["id"])
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
        reading = Reading(request, self.eos_token_ids)
        body = completion_body(request, self.model_name, self.eos_token_ids)
        with self._counted(), self._convert_errors(has_grammar=request.structural_tag is not None):
            # Plain JSON: the library's typed chunks take four times the processor time for each token.
            sending = self._post(body, request.trace_headers, stream=True, stream_cls=AsyncStream[Any])
            async with await sending as chunks:
                async for chunk in chunks:
                    if (delta := reading.take(chunk)) is not None:
                        yield delta
                    if reading.is_over:
                        break
        yield reading.last()

    def decide(self, request: DecisionRequest) -> AsyncGenerator[Score | TokenDelta]:
        return decide_in_two(self, request)

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
        check_length(len(prompt_ids), 1, self.max_model_len)
        body = score_body(request_id, prompt_ids, candidates, self.model_name, priority)
        with self._counted(), self._convert_errors():
            answer = await self._post(body, trace_headers or {})
        return Score(candidate_logprobs(answer, candidates), cached_tokens(answer))

    async def _post(self, body: Json, headers: Mapping[str, str], **options: Any) -> Any:
        """Return the beginning of an answer. A connection that fails before it is tried once more, a time-out is not."""
        try:
            with self._breaker.attempt():
                return await self._post_twice(body, headers, **options)
        except BreakerOpenError:
            message = f"The remote server cannot be reached; it is tried again within {PAUSE_SECONDS:g} seconds."
            raise EngineError(message) from None

    async def _post_twice(self, body: Json, headers: Mapping[str, str], **options: Any) -> Any:
        for is_last in (False, True):
            try:
                answer = await self._client.post(
                    "/completions", body=body, cast_to=object, options={"headers": headers}, **options
                )
            except APIStatusError:
                self._breaker.reached()
                raise
            except APIConnectionError as error:
                # A server may close a kept-alive connection at the moment of its reuse.
                if is_last or isinstance(error, APITimeoutError):
                    self._breaker.failed()
                    raise
            else:
                self._breaker.reached()
                return answer
        raise AssertionError

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
            # What it says is for the operator: it may name keys, addresses and files.
            logger.warning("The remote server %s failed (%s): %s", self._display_url, status, shorten(message))
            raise _failure(error, status) from error
        except ValueError as error:
            logger.warning("The remote server %s does not answer in JSON.", self._display_url)
            raise UpstreamError("The remote server does not answer in JSON.") from error
        except RuntimeError as error:
            # The HTTP client raises it for a request that begins while `stop` closes the client.
            if self._opened_client is None:
                raise EngineError("The remote engine is not running.") from error
            raise


def _failure(error: APIError, status: str) -> EngineError:
    """Return the error for clients. `status`: the status of the server's answer, or what it has in its place."""
    if isinstance(error, APITimeoutError):
        return EngineError("The remote server did not answer in time.")
    if status in UPSTREAM_STATUSES:
        return UpstreamError(f"The remote server refuses what this server sends ({status}); the operator's log says why.")
    return EngineError(f"The remote server failed ({shorten(status)}); the operator's log says why.")


def _load_tokenizer(source: str) -> tuple[Tokenizer, tuple[int, ...]]:
    from autotool_server.engines import checkpoint  # noqa: PLC0415 imports transformers, which takes seconds

    tokenizer = checkpoint.load_tokenizer(source)
    eos = checkpoint.eos_token_ids(checkpoint.configured_eos(source), tokenizer)
    return cast("Tokenizer", tokenizer), eos
