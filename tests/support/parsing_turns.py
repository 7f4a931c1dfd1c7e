"""Helpers of the parser's tests: run a parser over chunks, and join its events."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import Profile


@dataclass(frozen=True)
class Call:
    name: str
    arguments: str = ""
    complete: bool = True


@dataclass(frozen=True)
class Turn:
    reasoning: str = ""
    content: str = ""
    calls: tuple[Call, ...] = ()


def function_tool(name: str, properties: Mapping[str, Any] | None = None, **schema: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties or {}, **schema}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def run(
    profile: Profile, chunks: Iterable[str], prefix: str = "", tools: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[Event], TurnParser]:
    parser = TurnParser(profile, prefix, tools)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [*events, *parser.finish()], parser


def joined(events: Iterable[Event]) -> list[Event]:
    """Return the events with adjacent deltas of the same type (and call) joined."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, ContentDelta | ReasoningDelta | ToolCallArguments):
            assert event.text, "a delta is never empty"
            if type(event) is type(last) and getattr(event, "index", None) == getattr(last, "index", None):
                result[-1] = replace(event, text=last.text + event.text)  # type: ignore[union-attr]
                continue
        result.append(event)
    return result


def as_turn(events: Iterable[Event]) -> Turn:
    """Return the turn as a client joins it, and check the order of each call's events."""
    reasoning, content, calls = "", "", list[Call]()
    for event in events:
        match event:
            case ReasoningDelta(text):
                reasoning += text
            case ContentDelta(text):
                content += text
            case ToolCallStart(index, name):
                assert index == len(calls)
                calls.append(Call(name, "", complete=False))
            case ToolCallArguments(index, text):
                assert index == len(calls) - 1
                assert not calls[index].complete
                calls[index] = replace(calls[index], arguments=calls[index].arguments + text)
            case ToolCallEnd(index):
                assert index == len(calls) - 1
                calls[index] = replace(calls[index], complete=True)
    return Turn(reasoning, content, tuple(calls))


def parse(profile: Profile, text: str, prefix: str = "", tools: Sequence[Mapping[str, Any]] = ()) -> Turn:
    """Parse a text at once and character by character; both results must be equal."""
    whole, _ = run(profile, [text], prefix, tools)
    pieces, _ = run(profile, text, prefix, tools)
    assert joined(whole) == joined(pieces)
    return as_turn(whole)


@st.composite
def chunked(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[str]:
    """Draw a text in pieces, whose concatenation is the text."""
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
