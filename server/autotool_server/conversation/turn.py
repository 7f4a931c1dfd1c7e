"""One turn: the decision, the reasoning, the answer. `Turn.run` shows the whole of it (docs/design/request.md).

`turn_decision`, beside this module, decides the mode; `plan` and `turn_steps` make the steps of the engine, and `token_reader`
reads their tokens. This module runs the ones and feeds the other.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from autotool_core.errors import EngineError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.collect import Collected
from autotool_core.parsing.events import Event
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_core.record import TurnRecord
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.plan import Step, Transition, TurnState
from autotool_server.conversation.step_spans import CACHED, FINISH, StepSpans
from autotool_server.conversation.token_reader import TokenReader, TurnOutput
from autotool_server.conversation.turn_decision import TurnDecision
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.conversation.turn_steps import TurnSteps
from autotool_server.engines.base import DecisionRequest, Engine, FinishReason, Score, TokenDelta
from autotool_server.targets.load import UNRELIEVED, LoadRelief
from autotool_server.tracing.spans import Attributes


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
        self.decision = TurnDecision(request, renderer, profile, load)
        self.ledger = Ledger()
        self.finish_reason: FinishReason = "stop"
        self.due: float | None = None
        """The time by which the engine orders its requests (`EngineRequest.due`); None for their arrival."""
        self.reasoning_truncated = False
        self.stop_string: str | None = None
        """The stop string that ended the answer; None if none did."""
        self.stop_token_id: int | None = None
        """The stop token of the request that ended the answer; None if none did."""
        self._engine = engine
        self._model = model
        self._renderer = renderer
        self._profile = profile
        self._ids = list(request.prompt_ids)
        self._stops_from = 0
        """The number of `_ids` after which stop strings may end the answer."""
        self._num_steps = 0
        self._spans = StepSpans(engine, model, self.ledger, "chat", self._span_attributes)

    @property
    def resolved(self) -> ResolvedMode:
        """The mode that the turn has; in `auto` SHORT before the model has decided."""
        return self.decision.resolved

    @property
    def p_long(self) -> float | None:
        """The model's own probability of long; None where it has not decided."""
        return self.decision.p_long

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
        self.request = replace(self.request, limits=self.decision.relieved(self.request.limits))
        decided = await self._decide()
        try:
            if decided is not None:
                yield TurnOutput(())  # a stream begins with the decision
            plan, reader = self._steps.plan(), self._reader()
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
            self.decision.ended(self.ledger)
            if decided is not None:
                await decided.aclose()

    def record(self) -> TurnRecord:
        """Return the turn's part of the decision record."""
        return TurnRecord(
            **self.decision.record(),
            choice=self.request.choice,
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

    def collected(self) -> Collected:
        """Return the texts and calls of the turn, read once more from its tokens. After `run` has ended."""
        start = len(self.request.prompt_ids) + len(self.decision.prefix_ids)
        # A stop token of the request is no text of the answer; one that ends every turn is known to the reader.
        ids = self._ids[start:] if self.stop_token_id is None else self._ids[start:-1]
        return self._steps.collected(self.resolved, ids, self.stop_string, self._stops_from - start)

    def anew(self, request: TurnRequest) -> "Turn":
        """Return a turn of the same model for another request, on which the load has no effect and which teaches it nothing."""
        return Turn(self._engine, self._renderer, self._profile, request, load=UNRELIEVED, model=self._model)

    def decision_request(self) -> DecisionRequest | None:
        """Return what the turn would ask the engine to decide now; None where there is nothing to decide."""
        tokens = self.decision.tokens
        if tokens is None:
            return None
        self.decision.take_relief()
        return self.decision.asked(tokens, self._steps, self._ids, {})

    @property
    def _steps(self) -> TurnSteps:
        return TurnSteps(self._engine, self._renderer, self._profile, self.request, self.due)

    async def _decide(self) -> AsyncGenerator[TokenDelta] | None:
        """In `auto`, let the engine decode the decision token, and append what completes the prefix of the mode it settles.

        Return the deltas of the first step, which the engine goes on with by itself; None where there is nothing to decide.
        """
        tokens = self.decision.tokens
        if tokens is None:
            return None
        with self._spans.decision(self._ids) as span:
            request = self.decision.asked(tokens, self._steps, self._ids, span.headers)
            steps = self._engine.decide(request)
            try:
                score = cast("Score", await anext(steps))
                self.decision.settle(request, score)
            except EngineError:
                await steps.aclose()
                raise
            token, *rest = self.decision.prefix_ids
            self._ids = [*self._ids, token]
            self._inject(rest)
            self.ledger.decision_tokens = 1
            self.ledger.cached_tokens = score.cached_tokens
            self.ledger.note_time(content=False)
        return cast("AsyncGenerator[TokenDelta]", steps)

    def _reader(self) -> TokenReader:
        return self._steps.reader(self.resolved, self._ids, self.ledger, self._may_stop)

    def _may_stop(self) -> bool:
        return self.charged_tokens > self.request.limits.min_tokens

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
        self._num_steps += 1
        asked = self._steps.engine_request(step, self._num_steps, self._ids)
        with self._spans.generation(asked) as request:
            # The engine may still read the ids that it was given.
            self._ids = list(self._ids)
            async with aclosing(decided or self._engine.generate(request)) as deltas:
                async for delta in deltas:
                    first = self.ledger.reasoning_tokens + self.ledger.content_tokens == 0
                    self._note(delta)
                    output = reader.read(delta, keep=self._ids.append, reasoning_only=step.reasoning_only)
                    if not self._may_stop():
                        self._stops_from = len(self._ids)
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
            CACHED: self.ledger.cached_tokens if self._num_steps + self.ledger.decision_tokens <= 1 else None,
            FINISH: (self.finish_reason,) if self._num_steps else None,
        }

    def _note(self, delta: TokenDelta) -> None:
        self.finish_reason = delta.finish_reason or "stop"
        if self._num_steps == 1 and not self.ledger.decision_tokens:
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
