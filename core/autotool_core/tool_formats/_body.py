"""The bodies of calls that are read by one method after another."""

from collections.abc import Callable

from autotool_core.parsing.events import Event
from autotool_core.parsing.markers import MarkerNext


class StepwiseBody:
    """Reads a call. `_read` is the method that reads next: it returns the text that it leaves to the one after it."""

    _read: Callable[[str], str]
    _read_name: Callable[[str], str]
    _next: MarkerNext
    _over: bool
    """Whether the text that is left belongs to the body no more."""
    _events: list[Event]

    def feed(self, text: str) -> tuple[list[Event], str | None]:
        """Read on; return the events that are settled now and, once the body is over, the text behind it."""
        self._events = []
        while text and not self._over:
            text = self._read(text)
        return self._events, text if self._over else None

    def _read_opening(self, text: str) -> str:
        """Read the marker in front of the name."""
        tag = self._next.feed(text)
        if tag is None:
            return ""
        marker, rest = tag
        self._over = not marker
        self._read = self._read_name
        return rest
