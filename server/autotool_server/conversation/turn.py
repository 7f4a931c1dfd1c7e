"""One turn: the decision, the reasoning, the answer. `Turn.run` is the whole way (docs/lifecycle.md, step 4).

A turn is one to three engine steps, each a plain generation from token ids. Steps are split only where something
differs between them: the decision in `auto`, a reasoning budget, a grammar that must not see the think block. What a
text means follows from the injected prefix through one parser, never from a request flag.
"""

import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from autotool_core.decision import decide
from autotool_core.detokenizer import Detokenizer
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import Section, TurnParser
from autotool_core.profile import Profile, ThinkFormat
from autotool_core.prompt import PromptRenderer
from autotool_core.record import TurnRecord
from autotool_server.conversation.stops import StopFilter
from autotool_server.engines.base import Engine, EngineRequest, FinishReason, Sampling, TokenDelta, TokenLogprob

# A sentencepiece-like tokenizer needs a few ids of context to know where a word begins.
DETOKENIZER_CONTEXT = 8


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What one choice of a request needs from the engine."""

    id: str
    choice: int
    prompt_ids: Sequence[int]
    """Conversation and response prefix of `mode`."""
    mode: Mode
    reasoning_bias: float
    max_tokens: int
    """Bound on decoded tokens: of the turn, or of the answer alone where `max_reasoning_tokens` is given."""
    max_reasoning_tokens: int | None
    stop: tuple[str, ...]
    sampling: Sampling
    structural_tag: str | None
    """Grammar of the answer; the think block stands before it."""
    logprobs: int | None
    tools: Sequence[Mapping[str, Any]]
    parallel_tool_calls: bool


@dataclass(frozen=True, slots=True)
class TurnOutput:
    """What the next tokens meant."""

    events: Sequence[Event]
    logprobs: Sequence[TokenLogprob] = ()
    """Of content tokens."""


@dataclass(frozen=True, slots=True)
class Step:
    """A plain generation within the turn."""

    max_tokens: int
    stop_token_ids: tuple[int, ...]
    structural_tag: str | None = None
    only_reasoning: bool = False


@dataclass(slots=True)
class Ledger:
    """Token counts and times of a turn, kept as it goes, so that a turn cut short is accounted for too."""

    injected_tokens: int = 0
    decision_tokens: int = 0
    reasoning_tokens: int = 0
    content_tokens: int = 0
    cached_tokens: int = 0
    started_at: float = 0.0
    """As `time.perf_counter`, like the other times."""
    first_token_at: float | None = None
    first_content_at: float | None = None
    last_token_at: float | None = None
    tool_calls: list[str] = field(default_factory=list[str])

    @property
    def completion_tokens(self) -> int:
        """Every decoded token."""
        return self.decision_tokens + self.reasoning_tokens + self.content_tokens

    def count(self, section: Section, tokens: int) -> None:
        """Charge decoded tokens to the section they were decoded in."""
        if section is Section.REASONING:
            self.reasoning_tokens += tokens
        else:
            self.content_tokens += tokens

    def note_time(self, *, content: bool) -> None:
        """Note that tokens arrived."""
        now = self.last_token_at = time.perf_counter()
        self.first_token_at = self.first_token_at or now
        if content:
            self.first_content_at = self.first_content_at or now


class Turn:
    """Runs one turn. After `run` has ended, `finish_reason`, `record()` and `ledger` say how it went."""

    def __init__(self, engine: Engine, renderer: PromptRenderer, profile: Profile, request: TurnRequest) -> None:
        self.request = request
        self.ledger = Ledger()
        self.finish_reason: FinishReason = "stop"
        self.resolved = ResolvedMode.LONG if request.mode is Mode.LONG else ResolvedMode.SHORT
        self.p_long: float | None = None
        self.reasoning_truncated = False
        self._engine = engine
        self._renderer = renderer
        self._profile = profile
        self._ids = list(request.prompt_ids)
        self._stops = StopFilter(request.stop)
        self._steps = 0
        self._has_decoded = False
        self._over = False
        self._pending: list[Event] = []

    async def run(self) -> AsyncGenerator[TurnOutput]:
        """Decide, reason, answer. Closing the generator aborts whatever the engine is doing for it."""
        self.ledger.started_at = time.perf_counter()
        await self._decide()
        self._parser = TurnParser(self._profile, self._profile.prefix(Mode(self.resolved)), self.request.tools)
        self._detokenizer = self._make_detokenizer()
        step = self._first_step()
        while step is not None:
            # Nothing is said before the engine has: until then a failure can still be a status.
            if self._pending:
                yield TurnOutput(self._pending)
            async with aclosing(self._decode(step)) as outputs:
                async for output in outputs:
                    yield output
            self._pending = []
            yield TurnOutput(self._flush())
            step = self._next_step(step)
        yield TurnOutput([*self._pending, *self._finish()])

    def record(self) -> TurnRecord:
        """The turn's part of the decision record."""
        prefix = self._renderer.prefix_ids[self.request.mode]
        return TurnRecord(
            choice=self.request.choice,
            resolved=self.resolved,
            decided_by="model" if self.request.mode is Mode.AUTO else "request",
            p_long=self.p_long,
            reasoning_bias=self.request.reasoning_bias if self.request.mode is Mode.AUTO else 0.0,
            prefix_tokens=len(prefix) + self.ledger.injected_tokens,
            decision_tokens=self.ledger.decision_tokens,
            reasoning_tokens=self.ledger.reasoning_tokens,
            content_tokens=self.ledger.content_tokens,
            reasoning_truncated=self.reasoning_truncated,
            tool_calls=self.ledger.tool_calls,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.ledger.cached_tokens,
        )

    @property
    def prompt_tokens(self) -> int:
        """What is charged to the prompt: the conversation, and what was injected after it."""
        return len(self.request.prompt_ids) + self.ledger.injected_tokens

    @property
    def hit_stop(self) -> bool:
        """Whether a stop string ended the answer."""
        return self._stops.hit

    @property
    def charged(self) -> int:
        """Decoded tokens that count for the request's bound."""
        return self.ledger.completion_tokens if self.request.max_reasoning_tokens is None else self.ledger.content_tokens

    async def _decide(self) -> None:
        """In `auto`, decode the decision token and inject what completes the prefix of the mode it settled."""
        tokens = self._renderer.decision_tokens
        if self.request.mode is not Mode.AUTO or tokens is None:
            return
        score = await self._engine.score(f"{self.request.id}-decision", self._ids, (tokens.long, tokens.short))
        seed = self.request.sampling.seed
        decision = decide(
            *score.logprobs,
            reasoning_bias=self.request.reasoning_bias,
            temperature=self.request.sampling.temperature,
            uniform=(random if seed is None else random.Random(seed)).random(),  # noqa: S311 sampling, not a secret
        )
        self.resolved, self.p_long = decision.resolved, decision.p_long
        self.ledger.decision_tokens = 1
        self.ledger.cached_tokens = score.cached_tokens
        self.ledger.note_time(content=False)
        self._ids.append(tokens.long if self.resolved is ResolvedMode.LONG else tokens.short)
        self._inject(tokens.rest[self.resolved])

    def _first_step(self) -> Step | None:
        request = self.request
        if self._parser.section is not Section.REASONING:
            return self._answer_step(request.structural_tag)
        if request.max_reasoning_tokens == 0:
            self.reasoning_truncated = True
            return self._close_reasoning()
        if request.max_reasoning_tokens is None and request.structural_tag is None:
            return self._answer_step(None)
        return self._reasoning_step()

    def _reasoning_step(self) -> Step | None:
        budget = self.request.max_reasoning_tokens
        bound = self._tokens_left() if budget is None else budget
        return Step(bound, (*self._engine.eos_token_ids, *self._close_ids()), only_reasoning=True) if bound > 0 else self._cut()

    def _answer_step(self, structural_tag: str | None) -> Step | None:
        left = self._tokens_left()
        return Step(left, self._engine.eos_token_ids, structural_tag) if left > 0 else self._cut()

    def _next_step(self, step: Step) -> Step | None:
        """What remains to be decoded after a step; None when the turn is over."""
        if self._over:
            return None
        reasoning = self._parser.section is Section.REASONING
        if self._reasoning_done(step):
            self._inject(self._renderer.ids(self._think.answer_separator))
            return self._answer_step(self.request.structural_tag)
        if not reasoning:
            return None
        if self.finish_reason == "length":
            if self.request.max_reasoning_tokens is None:
                return None
            self.reasoning_truncated = True
        return self._close_reasoning()

    def _close_reasoning(self) -> Step | None:
        """Close the think block for the model, which ran out of budget or ended its turn inside it: an answer follows."""
        closing = f"\n{self._think.close}{self._think.answer_separator}"
        self._inject(self._renderer.ids(closing))
        # What the parser held back as the possible beginning of a marker is reasoning after all.
        self._pending = self._accept(self._parser.feed(closing))
        return self._answer_step(self.request.structural_tag)

    async def _decode(self, step: Step) -> AsyncGenerator[TurnOutput]:
        self._steps += 1
        request = EngineRequest(
            request_id=f"{self.request.id}-{self._steps}",
            prompt_ids=self._ids,
            max_tokens=step.max_tokens,
            stop_token_ids=step.stop_token_ids,
            sampling=self.request.sampling,
            structural_tag=step.structural_tag,
            logprobs=self.request.logprobs,
        )
        # The engine may still read the ids it was given.
        self._ids = list(self._ids)
        async with aclosing(self._engine.generate(request)) as deltas:
            async for delta in deltas:
                if self._steps == 1 and not self.ledger.decision_tokens:
                    # What was cached before this request, which some engines tell in their last delta only.
                    self.ledger.cached_tokens = max(self.ledger.cached_tokens, delta.cached_tokens)
                self.finish_reason = delta.finish_reason or "stop"
                first = not self._has_decoded
                output = self._read(delta, step)
                # The first token is told even where it has no text to show: a stream begins with it.
                if first or output.events or output.logprobs:
                    yield output
                if self._over or self._reasoning_done(step):
                    break

    def _read(self, delta: TokenDelta, step: Step) -> TurnOutput:
        """Charge, detokenise and parse the tokens of a delta."""
        events: list[Event] = []
        logprobs: list[TokenLogprob] = []
        self._has_decoded = True
        for at, token_id in enumerate(delta.token_ids):
            section = self._parser.section
            self.ledger.count(section, 1)
            if token_id in self._engine.eos_token_ids:
                break
            self._ids.append(token_id)
            if delta.logprobs is not None and section is Section.CONTENT:
                logprobs.append(delta.logprobs[at])
            events += self._parser.feed(self._detokenizer.push((token_id,)))
            if self._reasoning_done(step):
                break
        accepted = self._accept(events)
        self.ledger.note_time(content=any(not isinstance(event, ReasoningDelta) for event in accepted))
        return TurnOutput(accepted, logprobs)

    def _reasoning_done(self, step: Step) -> bool:
        return step.only_reasoning and self._parser.section is not Section.REASONING

    def _accept(self, events: list[Event]) -> list[Event]:
        """Apply what may end the answer early: stop strings, and the first call where calls are not parallel."""
        accepted: list[Event] = []
        for event in events:
            if self._over:
                break
            if isinstance(event, ContentDelta):
                text = self._stops.push(event.text)
                self._over = self._stops.hit
                if text:
                    accepted.append(ContentDelta(text))
                continue
            if held := self._stops.finish():
                accepted.append(ContentDelta(held))
            if isinstance(event, ToolCallStart):
                self.ledger.tool_calls.append(event.name)
            accepted.append(event)
            self._over = isinstance(event, ToolCallEnd) and not self.request.parallel_tool_calls
        return accepted

    def _flush(self) -> list[Event]:
        """Text of a character whose last bytes never came; the next step begins with whole characters."""
        return self._accept(self._parser.feed(self._detokenizer.finish()))

    def _finish(self) -> list[Event]:
        if self._over:
            self.finish_reason = "stop"
            return []
        events = self._accept(self._parser.finish())
        if self._stops.hit:
            # In whitespace that the parser held back as it may stand before a call.
            self.finish_reason = "stop"
        held = "" if self._over else self._stops.finish()
        return [*events, ContentDelta(held)] if held else events

    def _tokens_left(self) -> int:
        return self.request.max_tokens - self.charged

    def _cut(self) -> None:
        self.finish_reason = "length"

    def _inject(self, ids: Sequence[int]) -> None:
        self._ids = [*self._ids, *ids]
        self.ledger.injected_tokens += len(ids)

    def _make_detokenizer(self) -> Detokenizer:
        return Detokenizer(self._engine.tokenizer, self._ids[-DETOKENIZER_CONTEXT:], self._renderer.marker_ids)

    def _close_ids(self) -> tuple[int, ...]:
        """The closing marker as a stop token; the parser finds a marker of several tokens instead."""
        ids = self._renderer.ids(self._think.close)
        return ids if len(ids) == 1 else ()

    @property
    def _think(self) -> ThinkFormat:
        # Asked for only inside a think block, which a profile without one never enters.
        return self._profile.think or ThinkFormat()
