"""A whole turn from its events, where nobody waits for a stream: training reads its rollouts so."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotool_core.calls import Call
from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart


@dataclass(frozen=True, slots=True)
class Collected:
    """What a turn said and did."""

    reasoning: str
    content: str
    calls: tuple[Call, ...] | None
    """None where one is broken: not ended, or its arguments are no JSON object."""


def collect(events: Sequence[Event]) -> Collected:
    """Put a turn's events together."""
    reasoning = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    content = "".join(event.text for event in events if isinstance(event, ContentDelta))
    return Collected(reasoning, content, _calls(events))


def _calls(events: Sequence[Event]) -> tuple[Call, ...] | None:
    names = {event.index: event.name for event in events if isinstance(event, ToolCallStart)}
    if {event.index for event in events if isinstance(event, ToolCallEnd)} != set(names):
        return None
    arguments = dict.fromkeys(names, "")
    for event in events:
        if isinstance(event, ToolCallArguments):
            arguments[event.index] += event.text
    try:
        return tuple(Call.parse(name, arguments[index] or "{}") for index, name in names.items())
    except (ValueError, RecursionError):
        return None
