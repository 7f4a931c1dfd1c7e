"""The events of a turn. Text that belongs to the format (markers, JSON around arguments) makes no event."""

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
    """The beginning of a tool call, whose name is complete."""

    index: int
    """The call's index in the turn, from 0."""
    name: str
    id: str = ""
    """The call's id in the API; a server sets it, a parser does not."""


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """More of a call's arguments; the texts of one index, joined, are one JSON object."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """The end of a complete tool call."""

    index: int


Event = ReasoningDelta | ContentDelta | ToolCallStart | ToolCallArguments | ToolCallEnd
