"""The one protocol every engine speaks: token ids in, token ids out. Text belongs to the server.

`docs/lifecycle.md` shows where a request meets it; `tests/integration/test_engines.py` runs the same
conformance suite against every engine.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from autotool_core.errors import InvalidRequestError
from autotool_core.tokenizer import Tokenizer

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; the meanings are OpenAI's and vLLM's."""

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
    """One plain generation."""

    request_id: str
    """Unique among the requests in flight."""
    prompt_ids: Sequence[int]
    max_tokens: int
    """At least 1; prompt and output together fit `Engine.max_model_len`."""
    stop_token_ids: tuple[int, ...] = ()
    """Decoding ends with the first of these, which is the last token yielded. End-of-sequence tokens stop only
    if they are listed."""
    sampling: Sampling = Sampling()
    structural_tag: str | None = None
    """A grammar for the whole output, as an xgrammar structural tag in JSON; None leaves it free."""
    logprobs: int | None = None
    """How many alternatives to report beside each token's own log-probability; None reports nothing."""


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
    """Prompt tokens served from the engine's cache, in the one delta where the engine tells it: the first or the last."""


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probabilities (nats) of candidate next tokens; only their differences mean anything."""

    logprobs: tuple[float, ...]
    """One per candidate, in the order asked."""
    cached_tokens: int = 0


class Engine(Protocol):
    """Decodes tokens. All methods are called from one asyncio event loop.

    Errors: a request that the engine will not take raises `autotool_core.errors.InvalidRequestError`; an engine that
    has failed or cannot be reached raises `autotool_core.errors.EngineError`, from `start` with the mend in the text.
    """

    name: str
    """The engine's name in settings and metrics: `vllm`, `remote`, `transformers`."""

    @property
    def checkpoint(self) -> str:
        """The local folder or hub id that the tokenizer comes from; valid once started."""
        ...

    @property
    def model_name(self) -> str:
        """What the model is called where no name is given; valid once started."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer; valid once started."""
        ...

    @property
    def max_model_len(self) -> int:
        """Tokens that prompt and output may have together; valid once started."""
        ...

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn, from the checkpoint's generation config and tokenizer; valid once started."""
        ...

    async def start(self) -> None:
        """Load the checkpoint or reach the server; returns when requests can be taken."""
        ...

    async def stop(self) -> None:
        """Abort everything in flight and free what `start` took. May be called twice."""
        ...

    async def health(self) -> None:
        """Return if requests can be served, else raise EngineError."""
        ...

    def generate(self, request: EngineRequest) -> AsyncGenerator[TokenDelta]:
        """Decode; closing the generator, or cancelling the task that iterates it, aborts the request in the engine."""
        ...

    async def score(self, request_id: str, prompt_ids: Sequence[int], candidates: tuple[int, ...]) -> Score:
        """How likely the model finds each candidate as the token after the prompt; decodes one token.

        Leaves the prompt in the engine's cache for the generation that follows. Cancelling it aborts the request.
        """
        ...

    def in_flight(self) -> int:
        """Requests that hold a place in the engine now; 0 after every request was finished, closed or cancelled."""
        ...


def check_length(prompt_tokens: int, max_tokens: int, max_model_len: int) -> None:
    """Raise InvalidRequestError where prompt and output do not fit the context together."""
    if prompt_tokens + max_tokens > max_model_len:
        raise InvalidRequestError(
            f"The prompt's {prompt_tokens} tokens and {max_tokens} to generate exceed the context of {max_model_len}.",
            code="context_length_exceeded",
        )
