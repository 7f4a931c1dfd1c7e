"""The protocol of every engine: it takes and returns token ids. Text is handled by the server.

`docs/design/request.md` shows its place in a request. `tests/integration/server/engines/test_engines.py` runs one conformance
suite against every engine.
"""

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, Protocol

from autotool_core.decision import PAIR, Decision, Readout, decide
from autotool_core.errors import EngineError, InvalidRequestError
from autotool_core.modes import ResolvedMode
from autotool_core.tokenizer import Tokenizer

FinishReason = Literal["stop", "length"]
NO_NUMBERS = "The model's probabilities are no numbers, as after an overflow of its arithmetic."


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters, with the meanings of OpenAI and vLLM."""

    temperature: float = 1.0
    """0 decodes greedily."""
    top_p: float = 1.0
    top_k: int = 0
    """0 considers the whole vocabulary."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """The request for one generation."""

    request_id: str
    """Unique among the requests in flight."""
    prompt_ids: Sequence[int]
    max_tokens: int
    """The limit of decoded tokens, 1 or more; prompt and output together fit `Engine.max_model_len`."""
    stop_token_ids: tuple[int, ...] = ()
    """Decoding ends with the first of these, which is the last token yielded. End-of-sequence tokens stop only if listed.
    A grammar allows none of these before its end."""
    min_tokens: int = 0
    """No stop token is decoded before this many tokens, unless a grammar allows nothing else."""
    sampling: Sampling = Sampling()
    structural_tag: str | None = None
    """A grammar for the whole output, as an xgrammar structural tag in JSON; None for free output."""
    logprobs: int | None = None
    """The number of alternatives to report with each token's log-probability; None for no log-probabilities."""
    priority: int = 0
    """Lower is decoded earlier, where the engine schedules by priority; elsewhere it has no effect."""
    due: float | None = None
    """The time, as `time.perf_counter`, by which it is ordered among those of its priority in place of its arrival, where the
    engine schedules by priority and arrival; elsewhere it has no effect. All requests of a turn have the same."""
    trace_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """`traceparent` and `tracestate` of the step's span, for engines that trace too; empty where there is no trace."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows a decision for one of the modes."""

    injected_ids: Sequence[int]
    """Tokens that follow the decision token in the prompt, and that the model does not decode."""
    generation: EngineRequest | None
    """The generation after them, with the whole prompt; None where no token is left for one."""


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """The request for a decision between two tokens, and for the generation that follows it."""

    request_id: str
    """Unique among the requests in flight."""
    prompt_ids: Sequence[int]
    candidates: tuple[int, ...]
    """The decision tokens of long and short, in this order, then further tokens that the decision reads."""
    outcomes: Mapping[ResolvedMode, Outcome]
    reasoning_bias: float = 0.0
    temperature: float = 1.0
    uniform: float = 0.0
    """A random number from [0, 1), by which the mode is drawn."""
    readout: Readout = PAIR
    """How the log-odds of long are read from the log-probabilities of the candidates."""
    trace_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """The headers of the decision's span, as an `EngineRequest` has those of its step."""

    @property
    def generations(self) -> Sequence[EngineRequest]:
        """The generations that may follow."""
        return [outcome.generation for outcome in self.outcomes.values() if outcome.generation is not None]

    def settle(self, score: "Score") -> Decision:
        """Draw the mode from the score of the candidates."""
        log_odds = self.readout.log_odds(score.logprobs)
        return decide(log_odds, reasoning_bias=self.reasoning_bias, temperature=self.temperature, uniform=self.uniform)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Log-probability (nats) of a decoded token under the raw model, before penalties, bias, grammar and temperature."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The most likely alternatives, (token id, log-probability), most likely first."""


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """The next tokens of a generation, at least one. The last delta, and no other, has a finish reason."""

    token_ids: Sequence[int]
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One per token when the request asked for log-probabilities."""
    finish_reason: FinishReason | None = None
    """`stop`: the last token is one of `stop_token_ids`, or the end-of-sequence token that completes the grammar.
    `length`: `max_tokens` was reached."""
    cached_tokens: int = 0
    """Prompt tokens from the engine's cache. Only one delta reports them, the first or the last, depending on the engine."""


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probabilities (nats) of candidate next tokens, up to a constant: only differences are meaningful."""

    logprobs: tuple[float, ...]
    """One per candidate, in the order of the request."""
    cached_tokens: int = 0

    def checked(self) -> "Score":
        """Return the score. Raises EngineError if it says nothing, as after an overflow of the model's arithmetic."""
        if any(map(math.isnan, self.logprobs)) or not math.isfinite(max(self.logprobs)):
            raise EngineError(NO_NUMBERS)
        return self

    def log_odds(self, readout: Readout) -> float:
        """Return the log-odds of long, as a readout has them. Raises EngineError as `checked` does."""
        log_odds = readout.log_odds(self.checked().logprobs)
        if math.isnan(log_odds):
            raise EngineError(NO_NUMBERS)
        return log_odds


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine is to be given at once."""

    requests: int
    """Those that it decodes, and a few that wait in its own queue (`with_next`)."""
    tokens: int | None = None
    """The tokens of its cache, of prompts and output; None where it is not known."""
    express: int = 0
    """Places beside `requests` that only requests of one token have."""
    seats: int | None = None
    """Those of `requests` that it decodes at once; None for all of them."""


def with_next(num_decoded: int) -> int:
    """Return so many requests and an eighth more, so that the next ones are there when others end, and no step lacks them."""
    return num_decoded + max(num_decoded // 8, 1)


class Engine(Protocol):
    """Decodes tokens. All methods are called from one asyncio event loop.

    Errors: a request that the engine rejects raises `autotool_core.errors.InvalidRequestError`; an engine that has failed or
    cannot be reached raises `autotool_core.errors.EngineError`, which `start` raises with a remedy in the text.
    """

    name: str
    """The engine's name in settings and metrics: `vllm`, `remote`, `transformers`."""

    in_process: bool
    """Whether this process holds the engine: one that has failed then stays so until it is stopped and started again."""

    @property
    def checkpoint(self) -> str:
        """The local folder or hub id of the tokenizer; valid once started."""
        ...

    @property
    def model_name(self) -> str:
        """The default name of the model in the API; valid once started."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer; valid once started."""
        ...

    @property
    def max_model_len(self) -> int:
        """The maximum of prompt and output tokens together; valid once started."""
        ...

    @property
    def device(self) -> str:
        """Where tokens are decoded, and in which type, for people: `cuda:0 (NVIDIA H200), bfloat16`; valid once started."""
        ...

    @property
    def capacity(self) -> Capacity:
        """What it is to be given at once; valid once started."""
        ...

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn, from the checkpoint's generation config and tokenizer; valid once started."""
        ...

    async def start(self) -> None:
        """Load the checkpoint or connect to the server. Return when requests can be served. May be called after `stop`."""
        ...

    async def stop(self) -> None:
        """Abort all requests and free the resources of `start`. May be called twice."""
        ...

    async def health(self) -> None:
        """Raise EngineError unless requests can be served."""
        ...

    def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        """Decode a request. Closing the generator, or cancelling the task that iterates it, aborts it in the engine."""
        ...

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
        """Return the log-probability of each candidate as the token after the prompt.

        The engine decodes one token and keeps the prompt in its cache for the generation that follows. Cancellation aborts
        the request, whose `priority`, `due` and `trace_headers` are those of an `EngineRequest`.
        """
        ...

    def decide(self, request: DecisionRequest) -> "AsyncGenerator[Score | TokenDelta]":
        """Yield the score of the candidates, then the deltas of the generation that the drawn mode has, if any.

        The mode is the one that `DecisionRequest.settle` draws. Closing the generator aborts the request in the engine.
        """
        ...

    def in_flight(self) -> int:
        """Return the number of requests in the engine; 0 after every request has finished, been closed or cancelled."""
        ...


async def decide_in_two(engine: Engine, request: DecisionRequest) -> "AsyncGenerator[Score | TokenDelta]":
    """Do what `Engine.decide` does by a request for the score and one for the generation, which any engine can answer."""
    generations = request.generations
    score = await engine.score(
        f"{request.request_id}-decision",
        request.prompt_ids,
        request.candidates,
        priority=max((generation.priority for generation in generations), default=0),
        due=generations[0].due if generations else None,
        trace_headers=request.trace_headers,
    )
    yield score
    generation = request.outcomes[request.settle(score).resolved].generation
    if generation is not None:
        async with aclosing(engine.generate(generation)) as deltas:
            async for delta in deltas:
                yield delta


def check_length(prompt_tokens: int, max_tokens: int, max_model_len: int) -> None:
    """Raise InvalidRequestError if prompt and output together exceed the context."""
    if prompt_tokens + max_tokens > max_model_len:
        raise InvalidRequestError(
            f"The prompt's {prompt_tokens} tokens and {max_tokens} to generate exceed the context of {max_model_len}.",
            code="context_length_exceeded",
        )


def grammar_error() -> InvalidRequestError:
    """Return the error of a grammar that cannot be compiled, or that allows no token where one must follow."""
    return InvalidRequestError(
        "The schema cannot be made into a grammar that has an answer; send a valid JSON schema without unusual keywords, huge "
        "counts and references without an end.",
        "response_format",
        code="invalid_schema",
    )
