"""The text of one parameter between its tags, and whether it is over although its end tag is wrong or missing."""

import re

_TAIL = 256
_BROKEN_END = re.compile(r"</([^<>\n]+)>?\s*\Z")
_LINE_START = re.compile(r"\n[ \t]*\Z")
_OWN_LINE = re.compile(r"[ \t]*\n")


class ParameterText:
    """Collects the value of the parameter `key`."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._pieces: list[str] = []
        self._head = ""
        self._tail = ""

    def add(self, piece: str) -> None:
        """Go on with a piece of the value."""
        self._pieces.append(piece)
        if not self._head.strip(" \t"):
            self._head += piece
        self._tail = (self._tail + piece)[-_TAIL:]

    @property
    def allows_tag(self) -> bool:
        """Whether the place is one where a tag may stand: a line's start, or any place if the value begins beside its tag."""
        return _OWN_LINE.match(self._head) is None or _LINE_START.search(self._tail) is not None

    @property
    def is_closed(self) -> bool:
        """Whether the value ends with an end tag that has a wrong name or lacks its `>`."""
        return self._broken_end() is not None

    def whole(self) -> str:
        """Return the value in front of its end tag."""
        return "".join(self._pieces).removeprefix("\n").removesuffix("\n")

    def cut_off(self) -> str:
        """Return the value in front of a tag that follows a wrong end tag, or none."""
        value, broken = "".join(self._pieces), self._broken_end()
        value = value if broken is None else value[: len(value) - len(broken.group())]
        return _LINE_START.sub("", value).removeprefix("\n")

    def _broken_end(self) -> re.Match[str] | None:
        match = _BROKEN_END.search(self._tail)
        name = match.group(1).strip() if match else ""
        if name.lower().startswith("param"):
            return match
        # A model may close the parameter by its own name, but an element of that name may be part of the text.
        return match if name == self.key and f"<{name}" not in "".join(self._pieces) else None
