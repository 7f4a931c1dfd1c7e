"""What a turn's text consists of. Text that belongs to the format (markers, JSON around arguments) makes no event."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More text inside the think block."""

    text: str


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A tool call opened; its name is complete."""

    index: int
    """0 for the turn's first call."""
    name: str
    id: str = ""
    """Of the call in the API; a server gives it, and a parser none."""


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """More of a call's arguments: the texts of one index, joined, are one JSON object."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """A call is complete."""

    index: int


Event = ReasoningDelta | ContentDelta | ToolCallStart | ToolCallArguments | ToolCallEnd
