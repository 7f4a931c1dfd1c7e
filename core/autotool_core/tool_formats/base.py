"""What the two tool-call formats have in common."""

from typing import Protocol

from autotool_core.parsing.events import Event


class CallBody(Protocol):
    """Parses one tool call behind its open marker, in any chunking."""

    started: bool
    """ToolCallStart has been sent: the text can no longer turn out to be no call."""
    complete: bool
    """ToolCallEnd has been sent."""

    def feed(self, text: str) -> tuple[list[Event], str | None]:
        """Return the events and, once the body is over, complete or not, the text behind it, else None.

        The text behind a body that is over without being complete begins with the character that cannot belong to it.
        It may be longer than `text` by what was held back.
        """
        ...
