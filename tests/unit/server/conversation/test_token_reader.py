"""The reading of tokens, without an engine: events, what is charged, and what ends an answer early."""

from typing import Any

import pytest
from support.tiny import make_tokenizer

from autotool_core.detokenizer import Detokenizer
from autotool_core.modes import Mode
from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import BUILTIN
from autotool_server.conversation.ledger import Ledger
from autotool_server.conversation.token_reader import TokenReader
from autotool_server.engines.base import TokenDelta

PROFILE = BUILTIN["smollm2-autotool"]
TOKENIZER = make_tokenizer()
EOS: int = TOKENIZER.eos_token_id
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


class Reading:
    """A reader, the ids that it kept and the events that it gave."""

    def __init__(self, mode: Mode, **options: Any) -> None:
        self.ledger, self.kept, self.events = Ledger(), list[int](), list[Event]()
        markers = {TOKENIZER.convert_tokens_to_ids(marker) for marker in PROFILE.markers}
        parser = TurnParser(PROFILE, PROFILE.prefix(mode), TOOLS)
        self.reader = TokenReader(parser, Detokenizer(TOKENIZER, (), markers), self.ledger, (EOS,), **options)

    def read(self, text: str, *, end: bool = True, reasoning_only: bool = False) -> "Reading":
        ids = [*TOKENIZER.encode(text, add_special_tokens=False), *([EOS] if end else [])]
        for token_id in ids:
            output = self.reader.read(TokenDelta([token_id]), keep=self.kept.append, reasoning_only=reasoning_only)
            self.events += output.events
        self.events += self.reader.finish().events
        return self

    def text(self, kind: type[ContentDelta] | type[ReasoningDelta]) -> str:
        return "".join(event.text for event in self.events if isinstance(event, kind))


def test_tokens_are_charged_to_the_section_that_they_are_decoded_in() -> None:
    reading = Reading(Mode.LONG).read("Hm.\n</think>\n\nFour.")
    assert (reading.text(ReasoningDelta), reading.text(ContentDelta)) == ("Hm.", "Four.")
    ids = TOKENIZER.encode("Hm.\n</think>", add_special_tokens=False)
    assert reading.ledger.reasoning_tokens == len(ids)
    assert reading.ledger.reasoning_tokens + reading.ledger.content_tokens == len(reading.kept) + 1
    assert EOS not in reading.kept


def test_a_stop_string_ends_the_answer_before_itself() -> None:
    reading = Reading(Mode.SHORT, stop=("our.",)).read("Four. Five.")
    assert reading.text(ContentDelta) == "F"
    assert (reading.reader.ended, reading.reader.stop_string) == (True, "our.")


@pytest.mark.parametrize(("parallel", "calls"), [(True, 2), (False, 1)])
def test_the_first_call_ends_the_answer_where_calls_are_not_parallel(parallel: bool, calls: int) -> None:
    reading = Reading(Mode.SHORT, parallel_tool_calls=parallel).read(f"{CALL}\n{CALL}")
    assert sum(isinstance(event, ToolCallEnd) for event in reading.events) == calls
    assert reading.ledger.tool_calls == ["add"] * calls
    assert reading.reader.ended is not parallel


def test_a_call_that_is_drafted_while_reasoning_is_no_call() -> None:
    reading = Reading(Mode.LONG).read(f"{CALL}\n</think>\n\nFour.")
    assert not any(isinstance(event, ToolCallStart) for event in reading.events)
    assert "<tool_call>" in reading.text(ReasoningDelta)


def test_reading_ends_with_the_think_block_where_the_step_does() -> None:
    reading = Reading(Mode.LONG)
    ids = TOKENIZER.encode("Hm.\n</think>\n\nFour.", add_special_tokens=False)
    reading.reader.read(TokenDelta(ids), keep=reading.kept.append, reasoning_only=True)
    assert not reading.reader.in_reasoning
    assert reading.kept == TOKENIZER.encode("Hm.\n</think>", add_special_tokens=False)
    assert reading.ledger.content_tokens == 0


def test_a_stop_token_ends_the_answer_and_is_text_in_the_reasoning() -> None:
    [comma] = TOKENIZER.encode(",", add_special_tokens=False)
    reading = Reading(Mode.LONG, stop_token_ids=(comma,)).read("a, b\n</think>\n\nc, d", end=False)
    assert (reading.text(ReasoningDelta), reading.text(ContentDelta)[:1]) == ("a, b", "c")
    assert comma in reading.kept


def test_the_token_that_ends_the_text_is_known() -> None:
    [comma] = TOKENIZER.encode(",", add_special_tokens=False)
    for text, options, end, stop in (("a", {}, EOS, None), ("a,", {"stop_token_ids": (comma,)}, comma, comma)):
        reading = Reading(Mode.SHORT, **options).read(text, end=not stop)
        assert (reading.reader.end_id, reading.reader.stop_token_id) == (end, stop)


def test_a_stop_string_counts_only_in_text_that_may_be_stopped() -> None:
    reading = Reading(Mode.SHORT, stop=(".",), may_stop=lambda: reading.ledger.content_tokens > 3)
    assert reading.read("a.b.c.").text(ContentDelta) == "a.b"
