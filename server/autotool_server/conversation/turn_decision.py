"""The decision of a turn: which mode it has, and in `auto` how the model decides it.

What may add to the log-odds of long: the request or its effort, the profile, the load (`targets.load`) and a target
(`targets.controller`). `conversation.turn` asks the engine, and runs the turn in the mode that is decided.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.stream import Section
from autotool_core.profile import Profile
from autotool_core.prompt import DecisionTokens, PromptRenderer
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.plan import TurnLimits, TurnState
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.conversation.turn_steps import TurnSteps
from autotool_server.engines.base import DecisionRequest, Outcome, Score
from autotool_server.targets.controller import Controller, Decided
from autotool_server.targets.load import NONE, LoadRelief


class TurnDecision:
    """Decides the mode of one turn. `load`: what the turn is spared while others wait."""

    def __init__(self, request: TurnRequest, renderer: PromptRenderer, profile: Profile, load: LoadRelief) -> None:
        self.resolved = ResolvedMode.LONG if request.mode is Mode.LONG else ResolvedMode.SHORT
        """The mode that the turn has; in `auto` SHORT before the model has decided."""
        self.p_long: float | None = None
        """The model's own probability of long; None before it has decided, and where the request has."""
        self.reasoning_bias = 0.0
        """Log-odds that were added to the long decision token."""
        self.relief = NONE
        """What the load spares the turn."""
        self.tokens = renderer.decision_tokens if request.mode is Mode.AUTO else None
        """The tokens between which the model decides; None where it does not."""
        self._request = request
        self._own_bias = request.reasoning_bias + profile.decision_bias
        self._load = load

    @property
    def prefix_ids(self) -> list[int]:
        """The decision token and what completes the prefix of its mode; none where the model does not decide."""
        tokens = self.tokens
        return [_token(tokens, self.resolved), *tokens.rest[self.resolved]] if tokens is not None else []

    def take_relief(self) -> None:
        """Take what the load spares a turn that begins now, or would."""
        self.relief = self._load.relief(self._request.priority)

    def relieved(self, limits: TurnLimits) -> TurnLimits:
        """Take what the load spares a turn that begins now: its request may have waited. Return the limits that it leaves."""
        if limits.max_reasoning_tokens is None:  # it does not think
            return limits
        self.take_relief()
        if self.relief.share == 1:
            return limits
        budget = self._load.budget(limits.max_reasoning_tokens, self.relief.share)
        return replace(limits, max_reasoning_tokens=budget)

    def asked(
        self, tokens: DecisionTokens, steps: TurnSteps, prompt_ids: Sequence[int], headers: Mapping[str, str]
    ) -> DecisionRequest:
        """Return what the engine is asked: to decide, and to go on with the first step of the mode that is drawn.

        `headers`: those of the decision's span.
        """
        sampling, target = self._request.sampling, self._request.target
        self.reasoning_bias = self._own_bias + self.relief.bias + (target.bias if target is not None else 0.0)
        return DecisionRequest(
            request_id=self._request.id,
            prompt_ids=prompt_ids,
            candidates=tokens.candidates,
            readout=tokens.readout,
            outcomes={mode: _outcome(mode, tokens, steps, prompt_ids, headers) for mode in ResolvedMode},
            reasoning_bias=self.reasoning_bias,
            temperature=sampling.temperature,
            uniform=(random if sampling.seed is None else random.Random(sampling.seed)).random(),  # noqa: S311 no secret
            trace_headers=headers,
        )

    def settle(self, request: DecisionRequest, score: Score) -> None:
        """Take the mode that was drawn. Raises EngineError for a score that says nothing."""
        log_odds = score.log_odds(request.readout)
        decision = request.settle(score)
        self.resolved, self.p_long = decision.resolved, decision.p_long
        if (target := self._learning_target) is not None:
            target.decided(Decided(log_odds + self._own_bias, request.temperature, self.resolved is ResolvedMode.LONG))

    def ended(self, ledger: Ledger) -> None:
        """Tell the load and the target what the turn has come to, also where it was cut short: a long one more than others."""
        self._load.ended(self.relief.share, ledger.reasoning_tokens, ledger.first_token_seconds)
        if (target := self._learning_target) is not None and self.p_long is not None:
            target.ended(is_long=self.resolved is ResolvedMode.LONG, tokens=ledger.completion_tokens)

    def record(self) -> dict[str, Any]:
        """Return the fields of the turn's record that are about the decision."""
        in_auto, target = self._request.mode is Mode.AUTO, self._request.target
        return {
            "resolved": self.resolved,
            "decided_by": "model" if in_auto else "request",
            "p_long": self.p_long,
            "reasoning_bias": self.reasoning_bias,
            "load_bias": self.relief.bias if in_auto else 0.0,
            "load_share": self.relief.share,
            "target": str(target.target) if in_auto and target is not None else None,
        }

    @property
    def _learning_target(self) -> Controller | None:
        """The target that learns from the turn: none under the load's relief, which it would work against."""
        return self._request.target if self.relief is NONE else None


def _outcome(
    resolved: ResolvedMode, tokens: DecisionTokens, steps: TurnSteps, prompt_ids: Sequence[int], headers: Mapping[str, str]
) -> Outcome:
    """Return what follows where the decision is for this mode: what `Turn.run` does with its first transition."""
    is_reasoning = steps.parser(resolved).section is Section.REASONING
    first = steps.plan().first(TurnState(is_reasoning, decoded_tokens=0))
    injected = [*tokens.rest[resolved], *steps.renderer.ids(first.injected)]
    if first.step is None:
        return Outcome(injected, None)
    request = steps.engine_request(first.step, 1, [*prompt_ids, _token(tokens, resolved), *injected])
    return Outcome(injected, replace(request, trace_headers=headers))


def _token(tokens: DecisionTokens, resolved: ResolvedMode) -> int:
    return tokens.long if resolved is ResolvedMode.LONG else tokens.short
