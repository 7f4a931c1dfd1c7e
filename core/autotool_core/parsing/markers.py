"""Readers of text that arrives in pieces up to a marker; they hold back only text that may still become a marker.

Each reader is fed every character once, so the time for a turn is linear in its length.
"""

import re

WHITESPACE = " \t\r\n"
"""JSON's whitespace, which is also what chat templates put around markers."""


def partial_marker_length(text: str, markers: tuple[str, ...]) -> int:
    """Return the number of characters at the end of `text` that may be the beginning of a marker."""
    longest = max(map(len, markers), default=1) - 1
    for start in range(max(0, len(text) - longest), len(text)):
        tail = text[start:]
        if any(marker.startswith(tail) for marker in markers):
            return len(tail)
    return 0


def _any_of(markers: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, markers)) or "(?!)")


class MarkerSearch:
    """Finds the first of some markers at any position."""

    def __init__(self, *markers: str) -> None:
        self._markers = markers
        self._pattern = _any_of(markers)
        self.held = ""
        """The end of the text so far, which may be the beginning of a marker."""

    def feed(self, text: str) -> tuple[str, str, str]:
        """Return the text before the marker, the marker and the rest; the last two are "" while there is no marker."""
        text = self.held + text
        self.held = ""
        if match := self._pattern.search(text):
            return text[: match.start()], match.group(), text[match.end() :]
        end = len(text) - partial_marker_length(text, self._markers)
        self.held = text[end:]
        return text[:end], "", ""

    def flush(self) -> str:
        """Return the text that is held back: no marker will come."""
        held, self.held = self.held, ""
        return held


class MarkerNext:
    """Decides whether, after any whitespace, one of some markers comes next."""

    def __init__(self, *markers: str) -> None:
        self._markers = markers
        self._space: list[str] = []
        self._held = ""

    def feed(self, text: str) -> tuple[str, str] | None:
        """Return the marker and the rest, ("", rest) if other text comes next, or None while that is undecided."""
        if not self._held:
            stripped = text.lstrip(WHITESPACE)
            self._space.append(text[: len(text) - len(stripped)])
            text = stripped
        text = self._held + text
        for marker in self._markers:
            if text.startswith(marker):
                return marker, text[len(marker) :]
        if any(marker.startswith(text) for marker in self._markers):
            self._held = text
            return None
        return "", text

    @property
    def space(self) -> str:
        """The whitespace that was skipped."""
        return "".join(self._space)

    @property
    def held(self) -> int:
        """Number of characters that are held back."""
        return len(self.space) + len(self._held)

    def flush(self) -> str:
        """Return the whitespace and the beginning of a marker that are held back: no more text will come."""
        held = self.space + self._held
        self._space, self._held = [], ""
        return held


class Passage:
    """Reads running text up to a marker, without the whitespace that belongs to the format.

    `lead`: characters that are dropped before the first other one. `trail`: characters that are held back at the end
    until it is known whether a marker follows, in which case they stay held.
    """

    def __init__(self, *markers: str, lead: str = "", trail: str = "") -> None:
        self._search = MarkerSearch(*markers)
        self._lead = lead
        self._trail = trail
        self._space: list[str] = []
        last = (rf"[{re.escape(trail)}]\Z",) if trail else ()
        firsts = (re.escape(marker[0]) for marker in markers)
        self._unclear = re.compile("|".join((*firsts, *last)) or "(?!)")

    def passes(self, text: str) -> bool:
        """Return whether `feed` would return just this text: a fast path for nearly every token."""
        return bool(text) and not (self._space or self._lead or self._search.held or self._unclear.search(text))

    def feed(self, text: str) -> tuple[str, str, str]:
        """Return the text that is settled now, the marker behind it and the rest; the last two are "" without a marker."""
        text = text.lstrip(self._lead)
        if not text:
            return "", "", ""
        self._lead = ""
        before, marker, rest = self._search.feed(text)
        return self.settle(before), marker, rest

    def settle(self, text: str) -> str:
        """Read text without markers; return the part that is settled, behind the text that was held back before it."""
        body = text.rstrip(self._trail)
        if not body:
            self._space.append(text)
            return ""
        settled = "".join((*self._space, body))
        self._space = [text[len(body) :]] if len(body) < len(text) else []
        return settled

    @property
    def held(self) -> int:
        """Number of characters that are held back."""
        return sum(map(len, self._space)) + len(self._search.held)

    @property
    def beginning(self) -> str:
        """The end of the text, which may be the beginning of a marker."""
        return self._search.held

    def flush(self, *, without_beginning: bool = False) -> str:
        """Return the text that is held back, perhaps without the beginning of a marker: no marker will come."""
        beginning = self._search.flush()
        settled = self.settle("" if without_beginning else beginning)
        held = "".join((settled, *self._space))
        self._space = []
        return held
