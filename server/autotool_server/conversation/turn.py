"""One turn: the decision, the reasoning, the answer. `Turn.run` shows the whole of it (docs/design/request.md).

The engine steps come from `conversation.plan`, their tokens are read by `conversation.token_reader`; this module runs the one
and feeds the other.
"""

import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from autotool_core.decision import Decision
from autotool_core.detokenizer import Detokenizer
from autotool_core.errors import EngineError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.collect import Collected, collect
from autotool_core.parsing.events import Event
from autotool_core.parsing.stream import Section, TurnParser
from autotool_core.profile import Profile
from autotool_core.prompt import DecisionTokens, PromptRenderer
from autotool_core.record import TurnRecord
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.plan import Step, Transition, TurnPlan, TurnState
from autotool_server.conversation.step_spans import CACHED, FINISH, StepSpans
from autotool_server.conversation.token_reader import TokenReader, TurnOutput
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.engines.base import (
    DecisionRequest,
    Engine,
    EngineRequest,
    FinishReason,
    Outcome,
    Score,
    TokenDelta,
)
from autotool_server.targets.controller import Controller, Decided
from autotool_server.targets.load import NONE, UNRELIEVED, LoadRelief
from autotool_server.tracing.spans import Attributes

# A sentencepiece-like tokenizer needs a few ids of context to know where a word begins.
DETOKENIZER_CONTEXT = 8


class Turn:
    """Runs one turn. After `run` has ended, `finish_reason`, `record()` and `ledger` describe how it went.

    `load`: what it is spared while others wait. `model`: the name under which the model is served, for traces.
    """

    def __init__(
        self,
        engine: Engine,
        renderer: PromptRenderer,
        profile: Profile,
        request: TurnRequest,
        *,
        load: LoadRelief,
        model: str = "",
    ) -> None:
        self.request = request
        self.ledger = Ledger()
        self.finish_reason: FinishReason = "stop"
        self.resolved = ResolvedMode.LONG if request.mode is Mode.LONG else ResolvedMode.SHORT
        self.p_long: float | None = None
        self.reasoning_bias = 0.0
        """Log-odds that were added to the long decision token."""
        self.delay = 0.0
        """Seconds by which the engine may let later turns pass it (`EngineRequest.delay`)."""
        self.reasoning_truncated = False
        self.stop_string: str | None = None
        """The stop string that ended the answer; None if none did."""
        self.stop_token_id: int | None = None
        """The stop token of the request that ended the answer; None if none did."""
        self._engine = engine
        self._model = model
        self._renderer = renderer
        self._profile = profile
        self._load = load
        self._relief = NONE
        self._ids = list(request.prompt_ids)
        self._steps = 0
        self._spans = StepSpans(engine, model, self.ledger, "chat", self._span_attributes)

    @property
    def max_decoded_tokens(self) -> int:
        """Tokens that the turn may decode, besides that of the decision, as far as its request or the server limits them."""
        return self.request.limits.expected

    @property
    def max_new_tokens(self) -> int:
        """Tokens that the turn may decode or have injected, as far as its request or the server limits them."""
        return self.max_decoded_tokens + self._renderer.max_injected_tokens(self.request.mode)

    async def run(self) -> AsyncGenerator[TurnOutput]:
        """Decide, reason, answer. Closing the generator aborts the engine's work for the turn."""
        self.ledger.started_at = time.perf_counter()
        self._take_relief()
        decided = await self._decide()
        try:
            if decided is not None:
                yield TurnOutput(())  # a stream begins with the decision
            plan, reader = self._plan(), self._reader()
            transition: Transition | None = plan.first(self._state(reader.in_reasoning))
            while transition is not None:
                if events := self._apply(transition, reader):
                    yield TurnOutput(events)
                if transition.step is None:
                    self.finish_reason = "length"
                    break
                async with aclosing(self._decode(transition.step, reader, decided)) as outputs:
                    async for output in outputs:
                        yield output
                decided = None
                yield reader.flush()
                transition = plan.following(transition.step, self._state(reader.in_reasoning, is_over=reader.is_over))
            yield self._finish(reader)
        finally:
            self._note_end()
            if decided is not None:
                await decided.aclose()

    def _note_end(self) -> None:
        """Tell the load and the target what the turn has come to, also where it was cut short: a long one more than others."""
        ledger = self.ledger
        self._load.ended(self._relief.share, ledger.reasoning_tokens, ledger.first_token_seconds)
        if (target := self._learning_target) is not None and self.p_long is not None:
            target.ended(is_long=self.resolved is ResolvedMode.LONG, tokens=ledger.completion_tokens)

    def record(self) -> TurnRecord:
        """Return the turn's part of the decision record."""
        in_auto = self.request.mode is Mode.AUTO
        return TurnRecord(
            choice=self.request.choice,
            resolved=self.resolved,
            decided_by="model" if in_auto else "request",
            p_long=self.p_long,
            reasoning_bias=self.reasoning_bias,
            load_bias=self._relief.bias if in_auto else 0.0,
            load_share=self._relief.share,
            target=str(self.request.target.target) if in_auto and self.request.target is not None else None,
            prefix_tokens=len(self._renderer.prefix_ids[self.request.mode]) + self.ledger.injected_tokens,
            decision_tokens=self.ledger.decision_tokens,
            reasoning_tokens=self.ledger.reasoning_tokens,
            content_tokens=self.ledger.content_tokens,
            reasoning_truncated=self.reasoning_truncated,
            max_reasoning_tokens=self.request.limits.max_reasoning_tokens,
            tool_calls=self.ledger.tool_calls,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.ledger.cached_tokens,
        )

    @property
    def index(self) -> int:
        """Index of the choice that the turn belongs to."""
        return self.request.choice

    @property
    def prompt_ids(self) -> Sequence[int]:
        """Token ids of the conversation and the response prefix."""
        return self.request.prompt_ids

    @property
    def prompt_tokens(self) -> int:
        """Tokens charged to the prompt: the conversation, and what was injected after it."""
        return len(self.request.prompt_ids) + self.ledger.injected_tokens

    @property
    def charged_tokens(self) -> int:
        """Decoded tokens that count towards the request's limit."""
        has_answer_limit = self.request.limits.max_answer_tokens is not None
        return self.ledger.content_tokens if has_answer_limit else self.ledger.completion_tokens

    def token_ids(self, start: int = 0) -> list[int]:
        """Return every token after the request's prompt from number `start` on: decoded and injected ones, in their order."""
        return self._ids[len(self.request.prompt_ids) + start :]

    def _take_relief(self) -> None:
        """Take what the load spares a turn that begins now: its request may have waited."""
        limits = self.request.limits
        if limits.max_reasoning_tokens is None:  # it does not think
            return
        self._relief = self._load.relief(self.request.priority)
        if self._relief.share < 1:
            budget = self._load.budget(limits.max_reasoning_tokens, self._relief.share)
            self.request = replace(self.request, limits=replace(limits, max_reasoning_tokens=budget))

    @property
    def _learning_target(self) -> Controller | None:
        """The target that learns from the turn: none under the load's relief, which it would work against."""
        return self.request.target if self._relief is NONE else None

    def collected(self) -> Collected:
        """Return the texts and calls of the turn, read once more from its tokens. After `run` has ended."""
        tokens = self._decision_tokens
        ids = self.token_ids(0 if tokens is None else 1 + len(tokens.rest[self.resolved]))
        detokenizer = Detokenizer(self._engine.tokenizer, keep=self._renderer.marker_ids)
        parser = self._parser(self.resolved)
        events = parser.feed(detokenizer.push(ids) + detokenizer.finish())
        return collect([*events, *parser.finish()])

    def anew(self, request: TurnRequest) -> "Turn":
        """Return a turn of the same model for another request, on which the load has no effect and which teaches it nothing."""
        return Turn(self._engine, self._renderer, self._profile, request, load=UNRELIEVED, model=self._model)

    def decision_request(self) -> DecisionRequest | None:
        """Return what the turn would ask the engine to decide now; None where there is nothing to decide."""
        tokens = self._decision_tokens
        if tokens is None:
            return None
        self._relief = self._load.relief(self.request.priority)
        return self._decision_request(tokens, {})

    @property
    def has_relief(self) -> bool:
        """Whether the load has spared the turn anything."""
        return self._relief is not NONE

    @property
    def _own_bias(self) -> float:
        """The bias of the request and of the profile, in log-odds."""
        return self.request.reasoning_bias + self._profile.decision_bias

    @property
    def _decision_tokens(self) -> DecisionTokens | None:
        return self._renderer.decision_tokens if self.request.mode is Mode.AUTO else None

    async def _decide(self) -> AsyncGenerator[TokenDelta] | None:
        """In `auto`, let the engine decode the decision token, and append what completes the prefix of the mode it settles.

        Return the deltas of the first step, which the engine goes on with by itself; None where there is nothing to decide.
        """
        tokens = self._decision_tokens
        if tokens is None:
            return None
        with self._spans.decision(self._ids) as span:
            request = self._decision_request(tokens, span.headers)
            steps = self._engine.decide(request)
            try:
                score = cast("Score", await anext(steps))
                log_odds = score.log_odds(tokens.readout)
            except EngineError:
                await steps.aclose()
                raise
            self._settle(tokens, request.settle(score))
            if (target := self._learning_target) is not None:
                target.decided(Decided(log_odds + self._own_bias, request.temperature, self.resolved is ResolvedMode.LONG))
            self.ledger.decision_tokens = 1
            self.ledger.cached_tokens = score.cached_tokens
            self.ledger.note_time(content=False)
        return cast("AsyncGenerator[TokenDelta]", steps)

    def _decision_request(self, tokens: DecisionTokens, trace_headers: Mapping[str, str]) -> DecisionRequest:
        seed, target = self.request.sampling.seed, self.request.target
        self.reasoning_bias = self._own_bias + self._relief.bias + (target.bias if target is not None else 0.0)
        return DecisionRequest(
            request_id=self.request.id,
            prompt_ids=self._ids,
            candidates=tokens.candidates,
            readout=tokens.readout,
            outcomes={resolved: self._outcome(resolved, tokens, trace_headers) for resolved in ResolvedMode},
            reasoning_bias=self.reasoning_bias,
            temperature=self.request.sampling.temperature,
            uniform=(random if seed is None else random.Random(seed)).random(),  # noqa: S311 sampling, not a secret
            trace_headers=trace_headers,
        )

    def _outcome(self, resolved: ResolvedMode, tokens: DecisionTokens, trace_headers: Mapping[str, str]) -> Outcome:
        """Return what follows where the decision is for this mode: what `run` does with its first transition."""
        first = self._plan().first(self._state(self._parser(resolved).section is Section.REASONING))
        injected = [*tokens.rest[resolved], *self._renderer.ids(first.injected)]
        if first.step is None:
            return Outcome(injected, None)
        token = tokens.long if resolved is ResolvedMode.LONG else tokens.short
        request = self._engine_request(first.step, 1, [*self._ids, token, *injected])
        return Outcome(injected, replace(request, trace_headers=trace_headers))

    def _settle(self, tokens: DecisionTokens, decision: Decision) -> None:
        """Take the mode that was drawn, and append its token and the rest of its prefix."""
        self.resolved, self.p_long = decision.resolved, decision.p_long
        self._ids = [*self._ids, tokens.long if self.resolved is ResolvedMode.LONG else tokens.short]
        self._inject(tokens.rest[self.resolved])

    def _plan(self) -> TurnPlan:
        think = self._profile.think
        close_ids = self._renderer.ids(think.close) if think is not None else ()
        close_ids = close_ids if len(close_ids) == 1 else ()
        return TurnPlan(self.request.limits, think, self._end_ids, close_ids)

    @property
    def _end_ids(self) -> tuple[int, ...]:
        """The tokens that end the turn."""
        return () if self.request.ignore_eos else self._engine.eos_token_ids

    def _reader(self) -> TokenReader:
        request = self.request
        context = self._ids[-DETOKENIZER_CONTEXT:]
        shown = self._renderer.marker_ids if request.skip_special_tokens else self._engine.tokenizer.all_special_ids
        return TokenReader(
            self._parser(self.resolved),
            Detokenizer(self._engine.tokenizer, context, shown),
            self.ledger,
            self._end_ids,
            limits=request.limits,
            stop=request.stop,
            stop_token_ids=request.limits.stop_token_ids,
            may_stop=lambda: self.charged_tokens > request.limits.min_tokens,
            parallel_tool_calls=request.parallel_tool_calls,
        )

    def _parser(self, resolved: ResolvedMode) -> TurnParser:
        return TurnParser(self._profile, self._profile.prefix(Mode(resolved)), self.request.tools)

    def _state(self, in_reasoning: bool, *, is_over: bool = False) -> TurnState:
        ledger = self.ledger
        return TurnState(
            in_reasoning,
            ledger.completion_tokens - ledger.decision_tokens,
            ledger.reasoning_tokens,
            ledger.content_tokens,
            self.finish_reason,
            is_over,
        )

    def _apply(self, transition: Transition, reader: TokenReader) -> list[Event]:
        """Inject the text before the next step; return the events of reasoning that it brings to an end."""
        self.reasoning_truncated |= transition.reasoning_truncated
        self._inject(self._renderer.ids(transition.injected))
        # What the parser held back as the possible beginning of a marker is reasoning after all.
        return reader.feed(transition.injected) if transition.closes_reasoning else []

    async def _decode(
        self, step: Step, reader: TokenReader, decided: AsyncGenerator[TokenDelta] | None
    ) -> AsyncGenerator[TurnOutput]:
        """Decode a step. `decided`: its deltas, where the engine has begun it after the decision."""
        self._steps += 1
        with self._spans.generation(self._engine_request(step, self._steps, self._ids)) as request:
            # The engine may still read the ids that it was given.
            self._ids = list(self._ids)
            async with aclosing(decided or self._engine.generate(request)) as deltas:
                async for delta in deltas:
                    first = self.ledger.reasoning_tokens + self.ledger.content_tokens == 0
                    self._note(delta)
                    output = reader.read(delta, keep=self._ids.append, reasoning_only=step.reasoning_only)
                    # The first token is an output even where it has no text: a stream begins with it.
                    if first or output.events or output.logprobs:
                        yield output
                    if reader.limit_reached:
                        self.finish_reason = "length"
                    if reader.is_over or reader.limit_reached or (step.reasoning_only and not reader.in_reasoning):
                        break

    def _span_attributes(self) -> Attributes:
        """Return what the turn knows at the end of a step, for its span."""
        has_decided = self.ledger.decision_tokens or self.request.mode is not Mode.AUTO
        return {
            "autotool.mode": self.request.mode.value,
            "autotool.resolved": self.resolved.value if has_decided else None,
            "autotool.p_long": self.p_long,
            CACHED: self.ledger.cached_tokens if self._steps + self.ledger.decision_tokens <= 1 else None,
            FINISH: (self.finish_reason,) if self._steps else None,
        }

    def _engine_request(self, step: Step, number: int, prompt_ids: Sequence[int]) -> EngineRequest:
        return EngineRequest(
            request_id=f"{self.request.id}-{number}",
            prompt_ids=prompt_ids,
            max_tokens=step.max_tokens,
            stop_token_ids=step.stop_token_ids,
            min_tokens=step.min_tokens,
            sampling=self.request.sampling,
            structural_tag=step.structural_tag,
            logprobs=self.request.logprobs,
            priority=self.request.priority,
            delay=self.delay,
        )

    def _note(self, delta: TokenDelta) -> None:
        self.finish_reason = delta.finish_reason or "stop"
        if self._steps == 1 and not self.ledger.decision_tokens:
            # Tokens cached before this request, which some engines report in their last delta only.
            self.ledger.cached_tokens = max(self.ledger.cached_tokens, delta.cached_tokens)

    def _finish(self, reader: TokenReader) -> TurnOutput:
        output = reader.finish()
        self.stop_string, self.stop_token_id = reader.stop_string, reader.stop_token_id
        self._ids = [*self._ids, *([] if reader.end_id is None else [reader.end_id])]
        if reader.is_over:
            self.finish_reason = "stop"
        return output

    def _inject(self, ids: Sequence[int]) -> None:
        self._ids = [*self._ids, *ids]
        self.ledger.injected_tokens += len(ids)
