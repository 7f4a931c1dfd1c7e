"""Questions that are answered by the probabilities of a few answers, each of which is one token."""

import asyncio
import math
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.parsing.stream import Section
from autotool_core.record import TurnRecord
from autotool_core.tokenizer import Tokenizer
from autotool_server.conversation.caller import ANYBODY
from autotool_server.conversation.choice import Choice
from autotool_server.conversation.job import Job
from autotool_server.conversation.ledger import Ledger, record_without_mode
from autotool_server.conversation.request import ConversationRequest, FieldNames
from autotool_server.conversation.service import ConversationService
from autotool_server.conversation.step_spans import CACHED, StepSpans
from autotool_server.conversation.text_threads import Run
from autotool_server.conversation.token_reader import TurnOutput
from autotool_server.engines.base import FinishReason, Score
from autotool_server.tracing.spans import Attributes


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the answers that are scored."""

    messages: Sequence[Any]
    """What the model reads, as of a `ConversationRequest`."""
    answers: Sequence[str]
    """Texts of one token each, two or more."""
    field: str
    """The path of the question in the request's body."""


MAX_TOKENS = 2**20
"""Tokens of all prompts of a request together: each question has the whole input before it."""
LINE = "\n\n"
"""What stands before an answer; in some vocabularies the same letter has another token at the beginning of a text."""
AT_ONCE = 8
"""Questions of a request that the engine has at once."""


class ScoredTurn:
    """Scores the answers of one question. After `run` has ended, `probabilities` has one for each.

    `places`: those of the request in the engine. The first turn has all of them, so that what the prompts have in common is in
    the engine's prefix cache for the others.
    """

    resolved = None
    """It has no mode: nothing is decoded after the answer's token."""
    p_long = None
    stop_string = None
    finish_reason: FinishReason = "stop"
    max_decoded_tokens = max_new_tokens = 1

    def __init__(
        self,
        service: ConversationService,
        request_id: str,
        index: int,
        *,
        prompt_ids: Sequence[int],
        candidates: Sequence[int],
        places: "Places",
        priority: int,
        field: str,
    ) -> None:
        self.index = index
        self.ledger = Ledger()
        self.prompt_ids = prompt_ids
        self.score: Score | None = None
        """What the engine has said of the answers; None before `run` has ended."""
        self.due: float | None = None
        """It has no effect: a score is one step."""
        self._engine = service.engine
        self._id = f"{request_id}-{index}"
        self._candidates = tuple(candidates)
        self._places = places
        self._priority, self._field = priority, field
        self._spans = StepSpans(service.engine, service.model, self.ledger, "decide", self._span_attributes)

    @property
    def probabilities(self) -> Sequence[float]:
        """The probability of each answer among all of them; none before `run` has ended."""
        return _softmax(self.score.logprobs) if self.score is not None else ()

    @property
    def prompt_tokens(self) -> int:
        """Tokens charged to the prompt."""
        return len(self.prompt_ids)

    async def run(self) -> AsyncGenerator[TurnOutput]:
        """Score the answers; yield one empty output. Closing the generator aborts the engine's work."""
        async with self._places.of(self.index):
            await self._score()
        yield TurnOutput(())

    async def _score(self) -> None:
        self.ledger.started_at = time.perf_counter()
        with self._spans.decision(self.prompt_ids) as span:
            options = {"priority": self._priority, "trace_headers": span.headers}
            try:
                score = await self._engine.score(self._id, self.prompt_ids, self._candidates, **options)
            except InvalidRequestError as error:  # which names a field of the engine's request
                raise InvalidRequestError(str(error), self._field, code=error.code, status=error.status) from error
            self.ledger.cached_tokens = score.cached_tokens
            self.ledger.count(Section.CONTENT, 1)
            self.ledger.note_time(content=True)
        self.score = score.checked()

    def record(self) -> TurnRecord:
        """Return the turn's part of the decision record."""
        return record_without_mode(self.index, self.prompt_tokens, self.ledger)

    def _span_attributes(self) -> Attributes:
        return {CACHED: self.ledger.cached_tokens}


async def prepare(
    service: ConversationService, model: str, questions: Sequence[Question], ignored: Sequence[str], run: Run
) -> Job:
    """Return the job of questions, each asked by itself. Raises InvalidRequestError, naming the field.

    `run` runs what takes long for a long input, for each question anew, so that others are not kept waiting.
    """
    if service.resolve_model(model, "model") is not None:
        raise InvalidRequestError("model names a mode, which a decision does not have. Send the name without it.", "model")
    if reason := service.renderer.refusals.get(Mode.SHORT):
        raise InvalidRequestError(f"A decision is answered without reasoning. {reason}", "model")
    request_id = f"dec-{uuid.uuid4().hex}"
    priority = service.caller.priority_of()
    make = partial(_turn, service, request_id, Places())
    turns: list[ScoredTurn] = []
    left = MAX_TOKENS
    for number, question in enumerate(questions):
        turns.append(await run(make, number, question))
        left -= turns[-1].prompt_tokens
        if left < 0:
            raise InvalidRequestError(
                f"The questions have more than {MAX_TOKENS} tokens together, each with the whole input before it. Ask fewer of "
                "them at a time.",
                "questions",
            )
    return Job(
        request_id,
        service.model,
        None,
        [Choice(turn) for turn in turns],
        tuple(ignored),
        num_prompts=len(turns),
        priority=priority,
        kind_without_mode="decision",
        at_once=AT_ONCE,
    )


class Places:
    """The places of a request's turns in the engine: the first one runs alone, and of the others AT_ONCE at a time."""

    def __init__(self) -> None:
        self._is_first_over = asyncio.Event()
        self._others = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def of(self, index: int) -> AsyncGenerator[None]:
        """Hold a place for the turn of a question."""
        if index == 0:
            try:
                yield
            finally:
                self._is_first_over.set()
            return
        await self._is_first_over.wait()
        async with self._others:
            yield


def _turn(service: ConversationService, request_id: str, places: Places, index: int, question: Question) -> ScoredTurn:
    # The prefix of `short` is only the place of the answer: a key that may not ask for short may have a decision.
    anybody = service.for_caller(ANYBODY)
    request = ConversationRequest(question.messages, mode=Mode.SHORT, max_tokens=1, fields=FieldNames(messages="input"))
    return ScoredTurn(
        service,
        request_id,
        index,
        prompt_ids=anybody.first_turn(request).prompt_ids,
        candidates=[_token(service.engine.tokenizer, answer, question.field) for answer in question.answers],
        places=places,
        priority=service.caller.priority_of(),
        field=question.field,
    )


def _token(tokenizer: Tokenizer, answer: str, field: str) -> int:
    """Return the token of an answer at the beginning of a line. Raises InvalidRequestError where there is no single one."""
    ids = tokenizer.encode(LINE + answer, add_special_tokens=False)
    if tokenizer.backend_tokenizer.decode(ids[-1:], skip_special_tokens=False).strip() != answer:
        raise InvalidRequestError(f"The model's vocabulary has no single token for the answer {answer}.", field)
    return ids[-1]


def _softmax(logprobs: Sequence[float]) -> Sequence[float]:
    largest = max(logprobs)
    weights = [math.exp(logprob - largest) for logprob in logprobs]
    return [weight / sum(weights) for weight in weights]
