"""Plain text: prompts that the model goes on with, without a chat template, modes or parsing."""

import time
import uuid
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from autotool_core.detokenizer import Detokenizer
from autotool_core.errors import InvalidRequestError
from autotool_core.parsing.events import ContentDelta
from autotool_core.parsing.stream import Section
from autotool_core.record import TurnRecord
from autotool_server.conversation.choice import Choice
from autotool_server.conversation.content_logprobs import ContentLogprobs
from autotool_server.conversation.job import Job
from autotool_server.conversation.ledger import Ledger, record_without_mode
from autotool_server.conversation.request import RequestedSampling
from autotool_server.conversation.service import ConversationService
from autotool_server.conversation.step_spans import CACHED, FINISH, StepSpans
from autotool_server.conversation.stops import StopFilter
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.conversation.turn_requests import sampling_of_choice
from autotool_server.conversation.turn_steps import DETOKENIZER_CONTEXT
from autotool_server.engines.base import Engine, EngineRequest, FinishReason, Sampling, TokenDelta
from autotool_server.tracing.spans import Attributes

DEFAULT_MAX_TOKENS = 16
"""OpenAI's."""
MAX_CHOICES = 2048
"""Largest number of prompts times choices: the number of prompts that OpenAI takes."""


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """What a protocol asks of plain text. `prepare` says what it refuses."""

    prompts: Sequence[str | Sequence[int]]
    """Texts or token ids."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    model: str | None = None
    max_tokens: int | None = None
    """Limit of decoded tokens, 0 or more; None for 16, or fewer where the context has not so many left."""
    sampling: RequestedSampling = field(default_factory=RequestedSampling)
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the text besides those of the checkpoint; they are no part of it."""
    ignore_eos: bool = False
    """Whether the checkpoint's tokens that end a text do not end it."""
    min_tokens: int = 0
    """Tokens before the text may end."""
    logprobs: int | None = None
    """Number of alternatives reported beside each token's log-probability; None reports nothing."""
    num_choices: int = 1
    """Choices for each prompt; those of one prompt follow each other."""
    add_special_tokens: bool = True
    """Whether the tokens that begin a sequence are put before a text."""
    skip_special_tokens: bool = True
    """Whether special tokens make no text."""
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlainTurnRequest:
    """What one choice needs from the engine."""

    choice: int
    """Index of the choice among those of all prompts."""
    prompt_ids: Sequence[int]
    max_tokens: int
    sampling: Sampling
    priority: int
    request: PlainRequest


class PlainTurn:
    """Decodes one choice. After `run` has ended, `finish_reason`, `record()` and `ledger` describe how it went."""

    resolved = None
    """Plain text has no mode."""
    p_long = None

    def __init__(self, engine: Engine, request: PlainTurnRequest, model: str) -> None:
        self.request = request
        self.ledger = Ledger()
        self.finish_reason: FinishReason = "length"
        self.due: float | None = None
        """The time by which the engine orders its request (`EngineRequest.due`); None for its arrival."""
        self._engine = engine
        self._spans = StepSpans(engine, model, self.ledger, "text_completion", self._span_attributes)
        self._stops = StopFilter(request.request.stop)
        eos = () if request.request.ignore_eos else engine.eos_token_ids
        self._stop_token_ids = (*eos, *request.request.stop_token_ids)
        kept: Collection[int] = () if request.request.skip_special_tokens else engine.tokenizer.all_special_ids
        self._logprobs = ContentLogprobs()
        self._detokenizer = Detokenizer(engine.tokenizer, request.prompt_ids[-DETOKENIZER_CONTEXT:], kept)

    @property
    def index(self) -> int:
        """Index of the choice among those of all prompts."""
        return self.request.choice

    @property
    def stop_string(self) -> str | None:
        """The stop string that ended the text; None if none did."""
        return self._stops.matched

    @property
    def prompt_ids(self) -> Sequence[int]:
        """Token ids of the prompt."""
        return self.request.prompt_ids

    @property
    def prompt_tokens(self) -> int:
        """Tokens charged to the prompt."""
        return len(self.request.prompt_ids)

    @property
    def max_decoded_tokens(self) -> int:
        """Tokens that the text may have."""
        return self.request.max_tokens

    @property
    def max_new_tokens(self) -> int:
        """Tokens that the text may have."""
        return self.request.max_tokens

    async def run(self) -> AsyncGenerator[TurnOutput]:
        """Yield the text as it is decoded. Closing the generator aborts the engine's work for it."""
        self.ledger.started_at = time.perf_counter()
        if self.request.max_tokens > 0:
            with self._spans.generation(self._engine_request()) as request:
                async with aclosing(self._engine.generate(request)) as deltas:
                    async for delta in deltas:
                        is_first = self.ledger.first_token_at is None
                        output = self._read(delta)
                        # The first token is an output even where it has no text: a stream begins with it.
                        if is_first or output.events or output.logprobs:
                            yield output
                        if self._stops.matched is not None:
                            break
        yield self._output(self._finish())

    def _span_attributes(self) -> Attributes:
        return {CACHED: self.ledger.cached_tokens, FINISH: (self.finish_reason,)}

    def record(self) -> TurnRecord:
        """Return the turn's part of the decision record."""
        return record_without_mode(self.index, self.prompt_tokens, self.ledger)

    def _engine_request(self) -> EngineRequest:
        return EngineRequest(
            request_id=f"{self.request.request.id}-{self.request.choice}",
            prompt_ids=self.request.prompt_ids,
            max_tokens=self.request.max_tokens,
            stop_token_ids=self._stop_token_ids,
            min_tokens=min(self.request.request.min_tokens, self.request.max_tokens),
            sampling=self.request.sampling,
            logprobs=self.request.request.logprobs,
            priority=self.request.priority,
            due=self.due,
        )

    def _read(self, delta: TokenDelta) -> TurnOutput:
        """Charge and detokenise the tokens of a delta."""
        self.ledger.count(Section.CONTENT, len(delta.token_ids))
        self.ledger.note_time(content=True)
        self.ledger.cached_tokens = max(self.ledger.cached_tokens, delta.cached_tokens)
        self.finish_reason = delta.finish_reason or self.finish_reason
        # A token that ends the text is the last one, and no part of it.
        is_ended = delta.token_ids[-1] in self._stop_token_ids
        ids = delta.token_ids[:-1] if is_ended else delta.token_ids
        text = "".join(self._text(token_id, delta, index) for index, token_id in enumerate(ids))
        if self.ledger.content_tokens > self.request.request.min_tokens:
            text = self._stops.push(text)
        return self._output(text)

    def _text(self, token_id: int, delta: TokenDelta, index: int) -> str:
        """Return the text that the token number `index` of a delta completes."""
        text = self._detokenizer.push((token_id,))
        if delta.logprobs is not None and self._detokenizer.makes_text(token_id):
            self._logprobs.read(delta.logprobs[index], text)
            self._logprobs.settle([text], 0, in_content=True)
        return text

    def _finish(self) -> str:
        """End the text; return what was held back of it."""
        rest = "" if self.stop_string is not None else self._detokenizer.finish()
        self._logprobs.complete(rest)
        self._logprobs.settle([rest], 0, in_content=True)
        held = self._stops.push(rest)
        if self.stop_string is not None:
            self.finish_reason = "stop"
            return held
        return held + self._stops.finish()

    def _output(self, text: str) -> TurnOutput:
        return TurnOutput([ContentDelta(text)] if text else [], self._logprobs.show(len(text)))


def prepare(service: ConversationService, request: PlainRequest) -> Job:
    """Return the job of a request. Raises InvalidRequestError, naming OpenAI's field."""
    if service.resolve_model(request.model, "model") is not None:
        raise InvalidRequestError("model names a mode, which plain text does not have. Send the name without it.", "model")
    _check_counts(request, service.settings.max_choices)
    _check_vocabulary(request, len(service.engine.tokenizer))
    for prompt in request.prompts:
        if isinstance(prompt, str):
            # Tokenising takes seconds and much memory for a prompt that is many times too long.
            _max_tokens(request, service.least_tokens(prompt), service.engine.max_model_len, "at least ")
    prompts = [_prompt_ids(prompt, service.engine, request) for prompt in request.prompts]
    turns = [
        PlainTurn(service.engine, _turn_request(request, ids, number * request.num_choices + index, service), service.model)
        for number, ids in enumerate(prompts)
        for index in range(request.num_choices)
    ]
    choices = [Choice(turn) for turn in turns]
    sampling = request.sampling.filled(service.defaults.sampling)
    return Job(
        request.id,
        service.model,
        None,
        choices,
        request.ignored,
        num_prompts=len(prompts),
        sampling=sampling,
        priority=service.caller.priority_of(),
    )


def _check_counts(request: PlainRequest, max_choices: int) -> None:
    if request.max_tokens is not None and request.min_tokens > request.max_tokens:
        raise InvalidRequestError("min_tokens can be at most max_tokens.", "min_tokens")
    if request.num_choices > max_choices:
        raise InvalidRequestError(f"n can be at most {max_choices} here.", "n")
    if len(request.prompts) * request.num_choices > MAX_CHOICES:
        raise InvalidRequestError(f"prompt and n ask for more than {MAX_CHOICES} completions.", "prompt")


def _check_vocabulary(request: PlainRequest, size: int) -> None:
    ids_of_field = {
        "prompt": [token for prompt in request.prompts if not isinstance(prompt, str) for token in prompt],
        "stop_token_ids": request.stop_token_ids,
        "logit_bias": request.sampling.logit_bias,
    }
    for name, ids in ids_of_field.items():
        if max(ids, default=0) >= size:
            raise InvalidRequestError(f"{name} names a token id that is not in the vocabulary.", name)


def _prompt_ids(prompt: str | Sequence[int], engine: Engine, request: PlainRequest) -> Sequence[int]:
    is_text = isinstance(prompt, str)
    ids = engine.tokenizer.encode(prompt, add_special_tokens=request.add_special_tokens) if is_text else [*prompt]
    if not ids:
        raise InvalidRequestError("prompt is empty.", "prompt")
    return ids


def _turn_request(
    request: PlainRequest, prompt_ids: Sequence[int], choice: int, service: ConversationService
) -> PlainTurnRequest:
    sampling = request.sampling.filled(service.defaults.sampling)
    limit = service.defaults.bounded_text(_max_tokens(request, len(prompt_ids), service.engine.max_model_len))
    sampling = sampling_of_choice(sampling, choice % request.num_choices)
    return PlainTurnRequest(choice, prompt_ids, limit, sampling, service.caller.priority_of(), request)


def _max_tokens(request: PlainRequest, prompt_tokens: int, context: int, known: str = "") -> int:
    """Return the limit of decoded tokens, cut to the context. Raises InvalidRequestError where it has no room for any."""
    room = context - prompt_tokens
    wanted = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    if room >= min(wanted, 1):
        return min(room, wanted)
    raise InvalidRequestError(
        f"The model's context is {context} tokens, and a prompt has {known}{prompt_tokens}, which leaves no room. Shorten it.",
        "prompt",
        code="context_length_exceeded",
    )
