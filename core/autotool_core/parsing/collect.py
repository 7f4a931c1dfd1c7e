"""Collects the events of a whole turn, for readers that need no stream, such as training with its rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotool_core.calls import Call
from autotool_core.parsing.events import ContentDelta, Event, ReasoningDelta, ToolCallArguments, ToolCallEnd, ToolCallStart


@dataclass(frozen=True, slots=True)
class Collected:
    """The texts and tool calls of a turn."""

    reasoning: str
    content: str
    calls: tuple[Call, ...] | None
    """The calls; None if one is broken: it has no end, or its arguments are no JSON object."""


def collect(events: Sequence[Event]) -> Collected:
    """Join a turn's events."""
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
