"""Reading text that arrives in pieces up to a marker, holding back only what may still turn into one.

All three readers are fed once with every character, so a turn costs time linear in its length.
"""

import re

WHITESPACE = " \t\r\n"
"""JSON's whitespace, which is also what chat templates put around markers."""


def held_length(text: str, markers: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of a marker."""
    longest = max(map(len, markers), default=1) - 1
    for start in range(max(0, len(text) - longest), len(text)):
        tail = text[start:]
        if any(marker.startswith(tail) for marker in markers):
            return len(tail)
    return 0


def _any_of(markers: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, markers)) or "(?!)")


class MarkerSearch:
    """Finds the first of some markers, wherever it stands."""

    def __init__(self, *markers: str) -> None:
        self._markers = markers
        self._pattern = _any_of(markers)
        self.held = ""
        """The text's end, which may be the beginning of a marker."""

    def feed(self, text: str) -> tuple[str, str, str]:
        """Return the text before the marker, the marker and the rest; ("...", "", "") while there is none."""
        text = self.held + text
        self.held = ""
        if found := self._pattern.search(text):
            return text[: found.start()], found.group(), text[found.end() :]
        end = len(text) - held_length(text, self._markers)
        self.held = text[end:]
        return text[:end], "", ""

    def flush(self) -> str:
        """Give back what is held: no marker will come."""
        held, self.held = self.held, ""
        return held


class MarkerNext:
    """Decides whether, after any whitespace, one of some markers comes next."""

    def __init__(self, *markers: str) -> None:
        self._markers = markers
        self._space: list[str] = []
        self._held = ""

    def feed(self, text: str) -> tuple[str, str] | None:
        """Return the marker and the rest, ("", rest) where something else stands there, None while that is open."""
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
        """The whitespace passed over."""
        return "".join(self._space)

    def flush(self) -> str:
        """Give back whitespace and beginning of a marker: no more text will come."""
        held = self.space + self._held
        self._space, self._held = [], ""
        return held


class Passage:
    """Running text up to a marker, without the whitespace that belongs to the format.

    `lead`: characters dropped before the first other one. `trail`: characters held back at the end until it is known
    whether a marker follows, in which case they stay held.
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
        """Whether `feed` would return just this text: the quick way for nearly every token."""
        return bool(text) and not (self._space or self._lead or self._search.held or self._unclear.search(text))

    def feed(self, text: str) -> tuple[str, str, str]:
        """Return the text that is settled now, the marker that ended it and the rest, the last two "" while there is none."""
        text = text.lstrip(self._lead)
        if not text:
            return "", "", ""
        self._lead = ""
        before, marker, rest = self._search.feed(text)
        return self.settle(before), marker, rest

    def settle(self, text: str) -> str:
        """Take text in which no marker is to be found; return what can go out of it and what was held back before it."""
        body = text.rstrip(self._trail)
        if not body:
            self._space.append(text)
            return ""
        settled = "".join((*self._space, body))
        self._space = [text[len(body) :]] if len(body) < len(text) else []
        return settled

    def flush(self) -> str:
        """Give back what is held: no marker will come."""
        settled = self.settle(self._search.flush())
        held = "".join((settled, *self._space))
        self._space = []
        return held
