"""What a conversation's next answer would be: its decision is scored as a turn would have it, and nothing is answered."""

import uuid
from dataclasses import dataclass
from typing import cast

from autotool_core.decision import probability_of_long
from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode, ResolvedMode
from autotool_server.conversation.choice import Choice
from autotool_server.conversation.job import Job
from autotool_server.conversation.plan import TurnState
from autotool_server.conversation.request import ConversationRequest
from autotool_server.conversation.scoring import Places, ScoredTurn
from autotool_server.conversation.service import ConversationService
from autotool_server.conversation.text_threads import Run
from autotool_server.conversation.turn import Turn


@dataclass(frozen=True, slots=True)
class Outlook:
    """The mode that the answer would have."""

    resolved: ResolvedMode
    """The mode that would be drawn with the request's seed; without a seed the likelier one."""
    p_long: float | None
    """The model's own probability of long; None where nothing is decided."""
    long_probability: float
    """The probability that the answer is long; 0 or 1 where the mode is certain."""

    def probability(self, mode: ResolvedMode) -> float:
        """Return the probability of a mode."""
        return self.long_probability if mode is ResolvedMode.LONG else 1 - self.long_probability


class QuotedTurn(ScoredTurn):
    """Scores the decision of a turn that is not run. What it scores stays in the engine's prefix cache for one that is."""

    def __init__(self, service: ConversationService, job: Job, max_tokens: int | None) -> None:
        self.mode = job.mode
        self.quoted = cast("Turn", job.turns[0])
        self._is_loop = job.choices[0].transcript is not None
        self._max_tokens = max_tokens
        request = self.quoted.decision_request()
        super().__init__(
            service,
            f"quote-{uuid.uuid4().hex}",
            0,
            prompt_ids=self.quoted.prompt_ids,
            # Where nothing is decided, any token has the prompt computed.
            candidates=request.candidates if request is not None else service.engine.eos_token_ids[:1] or (0,),
            places=Places(),
            priority=job.priority,
            field="messages",
        )

    def outlook(self) -> Outlook:
        """Return the mode that the turn would have now. After `run` has ended."""
        request = self.quoted.decision_request()
        if request is None or self.score is None:
            return Outlook(self.quoted.resolved, None, float(self.quoted.resolved is ResolvedMode.LONG))
        decision = request.settle(self.score)
        if self.quoted.request.sampling.seed is not None:
            return Outlook(decision.resolved, decision.p_long, float(decision.resolved is ResolvedMode.LONG))
        log_odds = self.score.log_odds(request.readout)
        probability = probability_of_long(log_odds + request.reasoning_bias, request.temperature)
        likelier = ResolvedMode.LONG if probability > 0.5 else ResolvedMode.SHORT
        return Outlook(likelier, decision.p_long, probability)

    def limit(self, mode: ResolvedMode) -> int | None:
        """Return the largest number of decoded tokens in a mode; None for a tool loop that the request does not limit."""
        if self._is_loop:
            return self._max_tokens
        request = self.quoted.request
        start = TurnState(in_reasoning=mode is ResolvedMode.LONG, decoded_tokens=0)
        return request.limits.tokens_left(start) + (request.mode is Mode.AUTO)


async def prepare(service: ConversationService, request: ConversationRequest, run: Run) -> Job:
    """Return the job of a quote for a request. Raises InvalidRequestError, naming the field, as for the request itself."""
    if request.tool_approvals is not None:
        fields = request.fields
        raise InvalidRequestError("A quote runs no calls, so that none can be approved.", fields.tool_approvals)
    quoted = await service.prepare(request, run)
    is_total = request.max_reasoning_tokens is None or request.max_tokens_is_total
    turn = QuotedTurn(service, quoted, request.max_tokens if is_total else None)
    return Job(
        f"quote-{uuid.uuid4().hex}",
        service.model,
        None,
        [Choice(turn)],
        quoted.ignored,
        quoted.effort,
        sampling=quoted.sampling,
        priority=quoted.priority,
        kind_without_mode="quote",
    )
