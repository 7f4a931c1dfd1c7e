"""The steps of a turn: what the engine is asked for each of them, and how their tokens are read.

`conversation.plan` says which steps there are, and `conversation.turn` runs them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotool_core.detokenizer import Detokenizer
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.collect import Collected, collect
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.plan import Step, TurnPlan
from autotool_server.conversation.token_reader import TokenReader
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.engines.base import Engine, EngineRequest, TokenDelta

# A sentencepiece-like tokenizer needs a few ids of context to know where a word begins.
DETOKENIZER_CONTEXT = 8


@dataclass(frozen=True, slots=True)
class TurnSteps:
    """Makes the steps of one turn."""

    engine: Engine
    renderer: PromptRenderer
    profile: Profile
    request: TurnRequest
    due: float | None
    """The time by which the engine orders all of them (`EngineRequest.due`); None for their arrival."""

    def plan(self) -> TurnPlan:
        """Return the plan of the turn."""
        think = self.profile.think
        close_ids = self.renderer.ids(think.close) if think is not None else ()
        close_ids = close_ids if len(close_ids) == 1 else ()
        return TurnPlan(self.request.limits, think, self._end_ids, close_ids)

    def engine_request(self, step: Step, number: int, prompt_ids: Sequence[int]) -> EngineRequest:
        """Return the request for a step, which is the engine's step number `number` of the turn."""
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
            due=self.due,
        )

    def parser(self, resolved: ResolvedMode) -> TurnParser:
        """Return the parser of a turn in a mode."""
        return TurnParser(self.profile, self.profile.prefix(Mode(resolved)), self.request.tools)

    def reader(
        self, resolved: ResolvedMode, prompt_ids: Sequence[int], ledger: Ledger, may_stop: Callable[[], bool]
    ) -> TokenReader:
        """Return the reader of the turn's tokens in a mode. `may_stop`: whether a stop string or token may end the answer."""
        request, tokenizer = self.request, self.engine.tokenizer
        shown = self.renderer.marker_ids if request.skip_special_tokens else tokenizer.all_special_ids
        return TokenReader(
            self.parser(resolved),
            Detokenizer(tokenizer, prompt_ids[-DETOKENIZER_CONTEXT:], shown),
            ledger,
            self._end_ids,
            limits=request.limits,
            stop=request.stop,
            stop_token_ids=request.limits.stop_token_ids,
            may_stop=may_stop,
            parallel_tool_calls=request.parallel_tool_calls,
        )

    def collected(self, resolved: ResolvedMode, ids: Sequence[int], stop_string: str | None, stops_from: int = 0) -> Collected:
        """Return the texts and calls of a turn in a mode, read once more from the tokens after its prefix.

        An engine may have decoded more than is part of the answer, which ends as its stream did: at the stop string, if one has
        ended it, and with the first call where calls are not parallel. `stops_from`: the number of tokens that were decoded
        before a stop string could end it.
        """
        start, ledger = max(stops_from, 0), Ledger()
        reader = TokenReader(
            self.parser(resolved),
            Detokenizer(self.engine.tokenizer, keep=self.renderer.marker_ids),
            ledger,
            self._end_ids,
            stop=() if stop_string is None else (stop_string,),
            may_stop=lambda: ledger.completion_tokens > start,
            parallel_tool_calls=self.request.parallel_tool_calls,
        )
        read = [reader.read(TokenDelta(part), keep=lambda _: None) for part in (ids[:start], ids[start:])]
        outputs = (*read, reader.flush(), reader.finish())
        return collect([event for output in outputs for event in output.events])

    @property
    def _end_ids(self) -> tuple[int, ...]:
        """The tokens that end the turn."""
        return () if self.request.ignore_eos else self.engine.eos_token_ids
