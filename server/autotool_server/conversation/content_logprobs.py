"""Which tokens the text of an answer is made of: their log-probabilities are shown, and no others."""

from collections import deque
from collections.abc import Sequence

from autotool_server.engines.base import TokenLogprob

_Token = tuple[list[TokenLogprob], str]
"""A text, with the entries of the tokens that it is made of: several for a character of several tokens."""


class ContentLogprobs:
    """Holds the entries of tokens until it is known whether their text is shown.

    Text becomes content later than it is read, or never: markers, whitespace around calls and the calls themselves are
    none, and a stop string ends the text before itself. A token is shown if any of its text is.
    """

    def __init__(self) -> None:
        self._parts: list[TokenLogprob] = []
        self._tokens: list[_Token] = []
        self._length = 0
        """Number of characters of `_tokens`."""
        self._content = deque[tuple[list[TokenLogprob], int]]()
        self._hidden = 0

    def read(self, entry: TokenLogprob, text: str) -> None:
        """Add a token and the text that it completes, which is empty in the middle of a character."""
        self._parts.append(entry)
        if text:
            self.complete(text)

    def complete(self, text: str) -> None:
        """Add the text of the tokens whose character was not complete."""
        if self._parts:
            self._tokens.append((self._parts, text))
            self._length += len(text)
            self._parts = []

    def leave_out(self, start: int, end: int) -> None:
        """Leave characters out, which are counted from the end of the text read: `start` is the greater number."""
        position = 0
        for index, (entries, text) in reversed([*enumerate(self._tokens)]):
            low, high = max(len(text) + position - start, 0), max(len(text) + position - end, 0)
            self._tokens[index] = (entries, text[:low] + text[high:])
            position += len(text)
        self._length = sum(len(text) for _, text in self._tokens)

    def settle(self, contents: Sequence[str], held: int, *, in_content: bool) -> None:
        """Tell which of the text read became content, in its order, and how many of the last characters still may.

        `in_content`: whether the text before the last token belongs to the content and not to a call or a think block.
        """
        if not contents and held >= self._length:
            # So it is at every token of a long call.
            return
        text = "".join(text for _, text in self._tokens)
        locate = _first_positions if in_content else _last_positions
        is_content = locate(text, contents, len(text) - held)
        tokens, self._tokens, start = self._tokens, [], 0
        for entries, piece in tokens:
            end = start + len(piece)
            if count := sum(is_content[start:end]):
                self._content.append((entries, count))
            if rest := text[max(start, len(text) - held) : end]:
                self._tokens.append(([] if count else entries, rest))
            start = end
        self._length = sum(len(text) for _, text in self._tokens)

    def show(self, characters: int) -> list[TokenLogprob]:
        """Return the entries of the tokens with which the next characters of the content begin or go on."""
        shown: list[TokenLogprob] = []
        self._hidden -= characters
        while self._content and self._hidden < 0:
            entries, count = self._content.popleft()
            shown += entries
            self._hidden += count
        return shown


def _first_positions(text: str, contents: Sequence[str], end: int) -> list[bool]:
    """Return which characters of a text up to `end` the contents are, if they begin with it."""
    found, start = [False] * len(text), 0
    for content in contents:
        if (at := text.find(content, start, end)) >= 0:
            start = at + len(content)
            found[at:start] = [True] * len(content)
    return found


def _last_positions(text: str, contents: Sequence[str], end: int) -> list[bool]:
    """Return which characters of a text up to `end` the contents are, if they end with it."""
    found = [False] * len(text)
    for content in reversed(contents):
        if (at := text.rfind(content, 0, end)) >= 0:
            found[at : at + len(content)] = [True] * len(content)
            end = at
    return found
