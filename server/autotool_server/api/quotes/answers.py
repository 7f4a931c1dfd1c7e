"""The way out: from the scored decision, and what earlier answers took, to a quote."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from openai.types import CompletionUsage
from pydantic import BaseModel

from autotool_core.modes import Mode, ResolvedMode
from autotool_server.api.openai_answers import usage
from autotool_server.api.protocol import ResponseBuilder
from autotool_server.conversation.choice import Choice, Output
from autotool_server.conversation.history import History, Level, Sample, Taken
from autotool_server.conversation.job import Job
from autotool_server.conversation.quantiles import Quantiles, quantiles
from autotool_server.conversation.quoting import Outlook, QuotedTurn


class QuotedHistory(BaseModel):
    """The answers that the quantiles are of, in one mode."""

    level: Level
    """What they share with the request: `tools` is mode and set of tools, `mode` the mode alone, `none` is no answer."""
    answers: int
    """Their number."""


class Quote(BaseModel):
    """What a chat completion is likely to take."""

    object: Literal["chat.completion.quote"] = "chat.completion.quote"
    model: str
    mode: Mode | None
    """The mode that was asked for."""
    resolved: ResolvedMode
    """The mode that would be drawn with the request's `seed`; without one, the likelier mode."""
    p_long: float | None
    """The model's own probability of long, before bias and temperature; null in `long` and `short`."""
    long_probability: float
    """The probability that the answer is long, with bias, target and temperature; 0 or 1 where the mode is certain."""
    reasoning_bias: float
    """Log-odds that are added to the long decision token."""
    prompt_tokens: int
    cached_tokens: int
    """Those of the prompt that were in the engine's cache before the quote; all of them are after it, as far as it has room."""
    completion_tokens: Quantiles | None
    """Decoded tokens of a choice; null where too little is known."""
    seconds: Quantiles | None
    """Wall time under the recent load of this server, the wait in the queue included."""
    history: dict[ResolvedMode, QuotedHistory]
    """The answers that the quantiles are of, by the modes that the answer may have."""
    usage: CompletionUsage
    """What the quote itself has used."""


class QuoteBuilder(ResponseBuilder):
    """Makes the quote of a job whose one turn has scored the decision."""

    def __init__(self, job: Job, history: History) -> None:
        self._job = job
        self._history = history

    def add(self, choice: Choice[Any], output: Output) -> None:
        """Take nothing: the turn keeps its score."""

    def build(self) -> dict[str, Any]:
        turn = cast("QuotedTurn", self._job.turns[0])
        outlook = turn.outlook()
        samples = {mode: self._sample(turn, mode) for mode in ResolvedMode if outlook.probability(mode) > 0}
        quote = Quote(
            model=self._job.model,
            mode=turn.mode,
            resolved=outlook.resolved,
            p_long=outlook.p_long,
            long_probability=outlook.long_probability,
            reasoning_bias=turn.quoted.decision.reasoning_bias,
            prompt_tokens=turn.prompt_tokens,
            cached_tokens=turn.ledger.cached_tokens,
            completion_tokens=_quantiles(outlook, samples, lambda taken: taken.tokens),
            seconds=_quantiles(outlook, samples, lambda taken: taken.seconds),
            history={mode: QuotedHistory(level=found.level, answers=len(found.answers)) for mode, found in samples.items()},
            usage=usage(self._job),
        )
        return quote.model_dump(mode="json")

    def _sample(self, turn: QuotedTurn, mode: ResolvedMode) -> Sample:
        """Return earlier answers in a mode, as they would be within the limit of this one."""
        found = self._history.sample(mode, turn.quoted.request.tools)
        limit = turn.limit(mode)
        return Sample(found.level, [taken.within(limit) for taken in found.answers])


def _quantiles(outlook: Outlook, samples: Mapping[ResolvedMode, Sample], number: Callable[[Taken], float]) -> Quantiles | None:
    return quantiles([(outlook.probability(mode), [*map(number, found.answers)]) for mode, found in samples.items()])
