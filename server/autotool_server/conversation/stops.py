"""Stop strings: the answer ends before the first one. They are searched in the text, so that all engines treat them alike."""


class StopFilter:
    """Passes text on until a stop string appears. Holds back only text that may be the beginning of one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.matched: str | None = None
        """The stop string that ended the answer."""

    def push(self, text: str) -> str:
        """Return the text that certainly stands before any stop string."""
        if not self._stops:
            return text
        text = self._held + text
        found = [(position, stop) for stop in self._stops if (position := text.find(stop)) >= 0]
        if found:
            position, self.matched = min(found)
            self._held = ""
            return text[:position]
        keep = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return the text that was held back: no stop string can follow in it any more."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        longest = min(len(stop) - 1, len(text))
        return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
