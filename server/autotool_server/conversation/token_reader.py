"""The reading of a turn's tokens: token ids become text, text becomes events, and what may end the answer early is applied."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from autotool_core.detokenizer import Detokenizer
from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import Section, TurnParser
from autotool_server.conversation.content_logprobs import ContentLogprobs
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.plan import TurnLimits
from autotool_server.conversation.stops import StopFilter
from autotool_server.engines.base import TokenDelta, TokenLogprob

TEXTS = (ContentDelta, ReasoningDelta)
"""The events of text, which nearly all tokens make."""


@dataclass(frozen=True, slots=True)
class TurnOutput:
    """What the next tokens of a turn mean."""

    events: Sequence[Event]
    logprobs: Sequence[TokenLogprob] = ()
    """The log-probabilities of the tokens that the content among `events` is made of."""


class TokenReader:
    """Reads the tokens of one turn.

    What a text means follows from the response prefix, which `parser` has read, and never from a request's flag. `stop` and
    `stop_token_ids` end the answer where `may_stop` is true.
    """

    def __init__(
        self,
        parser: TurnParser,
        detokenizer: Detokenizer,
        ledger: Ledger,
        eos_token_ids: Collection[int],
        *,
        limits: TurnLimits | None = None,
        stop: tuple[str, ...] = (),
        stop_token_ids: Collection[int] = (),
        may_stop: Callable[[], bool] = lambda: True,
        parallel_tool_calls: bool = True,
    ) -> None:
        self.limit_reached = False
        """Whether the last token read was the last one that its section may have."""
        self.ended = False
        """Whether a stop string, or the first call where calls are not parallel, has ended the answer."""
        self.end_id: int | None = None
        """The token that ended the text read last; None if no such token did."""
        self._parser = parser
        self._detokenizer = detokenizer
        self._ledger = ledger
        self._eos = eos_token_ids
        # Most turns have no such limit, and each token would ask for it.
        has_limits = limits is not None and (limits.max_reasoning_tokens, limits.max_answer_tokens) != (None, None)
        self._limits = limits if has_limits else None
        self._has_stops = bool(stop)
        self._stops = StopFilter(stop)
        self._stop_token_ids = stop_token_ids
        self._may_stop = may_stop
        self._parallel = parallel_tool_calls
        self._logprobs = ContentLogprobs()
        self._has_logprobs = False

    @property
    def in_reasoning(self) -> bool:
        """Whether the next token belongs to the think block."""
        return self._parser.section is Section.REASONING

    @property
    def stop_string(self) -> str | None:
        """The stop string that ended the answer; None if none did."""
        return self._stops.matched

    @property
    def stop_token_id(self) -> int | None:
        """The token among `stop_token_ids` that ended the answer; None if none did."""
        # A token that ends every turn does so in the think block too, whether or not the request names it.
        is_own = self.end_id in self._stop_token_ids and self.end_id not in self._eos
        return self.end_id if is_own else None

    @property
    def is_over(self) -> bool:
        """Whether no further token is part of the answer, whatever the engine decodes."""
        return self.ended or (self.end_id is not None and self.stop_token_id is not None)

    def read(self, delta: TokenDelta, *, keep: Callable[[int], None], reasoning_only: bool = False) -> TurnOutput:
        """Charge, detokenise and parse the tokens of a delta.

        `keep` receives the ids that belong to the turn's text, one by one; the token that ends it is `end_id`. Reading ends
        where the limit of a section is reached; with `reasoning_only`, also with the think block.
        """
        events: list[Event] = []
        self.limit_reached = False
        self.end_id = None
        for position, token_id in enumerate(delta.token_ids):
            section = self._parser.section
            self._ledger.count(section, 1)
            if token_id in self._eos or (token_id in self._stop_token_ids and self._stops_at(section)):
                self.end_id = token_id
                break
            keep(token_id)
            text = self._detokenizer.push((token_id,))
            read = self._parser.feed(text)
            if delta.logprobs is not None and self._detokenizer.makes_text(token_id):
                self._has_logprobs = True
                self._logprobs.read(delta.logprobs[position], text)
                self._settle_logprobs(read, section)
            events += read
            self.limit_reached = self._is_limit_reached()
            if self.limit_reached or (reasoning_only and not self.in_reasoning):
                break
        output = self._output(self._accept(events))
        self._ledger.note_time(content=any(map(_is_answer, output.events)))
        return output

    def feed(self, text: str) -> list[Event]:
        """Read text that was injected and not decoded."""
        return self._accept(self._parser.feed(text))

    def flush(self) -> TurnOutput:
        """Read the text of a character whose last bytes never came: the next step begins with whole characters."""
        text = self._detokenizer.finish()
        section = self._parser.section
        events = self._parser.feed(text)
        self._logprobs.complete(text)
        self._settle_logprobs(events, section)
        return self._output(self._accept(events))

    def finish(self) -> TurnOutput:
        """End the turn; return what was held back."""
        if self.ended:
            return TurnOutput(())
        events = self._parser.finish()
        self._logprobs.settle(_contents(events), 0, in_content=True)
        accepted = self._accept(events)
        held = "" if self.ended else self._stops.finish()
        return self._output([*accepted, ContentDelta(held)] if held else accepted)

    def _settle_logprobs(self, events: Sequence[Event], section: Section) -> None:
        """Settle the log-probabilities after `events`, whose text was read from `section` on."""
        parser = self._parser
        for start, end in parser.left_out:
            self._logprobs.leave_out(parser.position - start, parser.position - end)
        self._logprobs.settle(_contents(events), parser.held, in_content=section is Section.CONTENT)

    def _output(self, events: Sequence[Event]) -> TurnOutput:
        if not self._has_logprobs:
            return TurnOutput(events)
        return TurnOutput(events, self._logprobs.show(sum(map(len, _contents(events)))))

    def _is_limit_reached(self) -> bool:
        ledger = self._ledger
        return self._limits is not None and self._limits.is_reached(
            in_reasoning=self.in_reasoning,
            reasoning_tokens=ledger.reasoning_tokens,
            content_tokens=ledger.content_tokens,
        )

    def _before_stop(self, event: ContentDelta) -> ContentDelta:
        text = self._stops.push(event.text)
        self.ended = self._stops.matched is not None
        return ContentDelta(text)

    def _stops_at(self, section: Section) -> bool:
        return section is not Section.REASONING and self._may_stop()

    def _ends_nothing(self, events: list[Event]) -> bool:
        """Return whether these are the events of nearly every token: text that no stop string can end."""
        return not (self._has_stops or self.ended) and all(map(_is_text, events))

    def _accept(self, events: list[Event]) -> list[Event]:
        """Apply what may end the answer early: stop strings, and the first call where calls are not parallel."""
        if self._ends_nothing(events):
            return events
        accepted: list[Event] = []
        for event in events:
            if self.ended:
                break
            if isinstance(event, ContentDelta):
                shown = self._before_stop(event) if self._has_stops and self._may_stop() else event
                if shown.text:
                    accepted.append(shown)
                continue
            if held := self._stops.finish():
                accepted.append(ContentDelta(held))
            if isinstance(event, ToolCallStart):
                self._ledger.tool_calls.append(event.name)
            accepted.append(event)
            self.ended = isinstance(event, ToolCallEnd) and not self._parallel
        return accepted


def _is_answer(event: Event) -> bool:
    return not isinstance(event, ReasoningDelta)


def _is_text(event: Event) -> bool:
    return isinstance(event, TEXTS) and event.text != ""


def _contents(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, ContentDelta)]
