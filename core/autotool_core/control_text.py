"""Hides control texts in what clients write, so that a model reads them as characters.

A control text is the text of a token or marker that divides a conversation. Where a client's text holds one, it is replaced
by a placeholder while the chat template is rendered, and is then tokenised in two pieces: nothing that a client writes ends a
turn, opens one in another role or makes a call. A text that the template or the tokenizer would change to one with a control
text is hidden whole, and tokenised by the character.
"""

import ast
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, cast

from autotool_core.profile import Profile
from autotool_core.tokenizer import Tokenizer

_SIGN = re.compile(r"[^\w\s]")
"""What parts of control texts have and words have not."""
_HTML_TAG = re.compile(r"</?[a-z][a-z0-9]*/?>")
_REPLACEMENT = re.compile(r"""replace\(\s*("[^"]*"|'[^']*')\s*,\s*("[^"]*"|'[^']*')\s*\)""")
"""A replacement of one text by another in a chat template."""

Change = Callable[[str], str]
"""What a template or tokenizer may do to a client's text."""


class Control:
    """Some control texts, and where a text holds them."""

    def __init__(self, texts: Collection[str], changes: Sequence[Change] = ()) -> None:
        self._changes = changes
        self._pattern = re.compile(alternatives(sorted(texts)) or "(?!)")
        self._all = "\0".join(sorted(texts))
        self._longest = max(map(len, texts), default=0)
        self._beginnings = {text[:length] for text in texts for length in range(2, len(text))}
        self._ends = {text[-length:] for text in texts for length in range(2, len(text))}

    def is_in(self, text: str) -> bool:
        """Return whether a text holds a whole control text."""
        return self._pattern.search(text) is not None

    def blanked(self, text: str) -> str:
        """Return a text with a null character in place of each control text."""
        return self._pattern.sub("\0", text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where control texts stand in a text, and parts of them at its ends, which a template may complete."""
        if self._is_part(text) or self._arises_in(text):
            return [(0, len(text))]
        found = [match.span() for match in self._pattern.finditer(text)]
        first, last = self._beginning(text), self._end(text)
        before = [(0, first)] if first and (not found or found[0][0] >= first) else []
        behind = [(last, len(text))] if last < len(text) and (not found or found[-1][1] <= last) and first <= last else []
        return [*before, *found, *behind]

    def pieces(self, text: str) -> Iterator[str]:
        """Yield pieces of a control text in none of which there is one."""
        if self._arises_in(text):
            yield from text
            return
        start = 0
        while match := self._pattern.search(text, start):
            yield text[start : match.start() + 1]
            start = match.start() + 1
        yield from (text[start : start + 1], text[start + 1 :]) if start == 0 else (text[start:],)

    def _arises_in(self, text: str) -> bool:
        """Return whether a change of a text makes a control text that was not there."""
        blanked = self.blanked(text) if self._changes else ""
        return any(self.is_in(change(blanked)) for change in self._changes)

    def _is_part(self, text: str) -> bool:
        return 1 < len(text) <= self._longest and _SIGN.search(text) is not None and text in self._all

    def _beginning(self, text: str) -> int:
        """Return the length of the part at the beginning of a text that ends a control text."""
        lengths = range(min(self._longest - 1, len(text)), 1, -1)
        return next((length for length in lengths if text[:length] in self._ends and _SIGN.search(text[:length])), 0)

    def _end(self, text: str) -> int:
        """Return where the part at the end of a text starts that begins a control text."""
        starts = range(max(len(text) - self._longest + 1, 0), len(text) - 1)
        return next((at for at in starts if text[at:] in self._beginnings and _SIGN.search(text[at:])), len(text))


class ControlTexts:
    """The texts that control one checkpoint: its special and other added tokens, and the markers of its profile.

    Not among them are single characters, which cannot be split, and HTML tags that are tokens of their own (those of Gemma),
    unless the profile or the chat template uses them.
    """

    def __init__(self, tokenizer: Tokenizer, profile: Profile) -> None:
        added = [*tokenizer.backend_tokenizer.get_added_tokens_decoder().values()]
        tokens = {str(token.content): bool(token.special) for token in added}
        template = str(tokenizer.chat_template)
        markers = {*profile.markers}
        texts = {
            text
            for text in {*tokens, *markers}
            if len(text.strip()) > 1
            and (tokens.get(text) or text in markers or text in template or not _HTML_TAG.fullmatch(text))
        }
        changes = [*_replacements(template)]
        normalizer = tokenizer.backend_tokenizer.normalizer
        if normalizer is not None and (normalized := [str(token.content) for token in added if token.normalized]):
            # Such tokens are found behind the normalizer: with NFKC in fullwidth letters too.
            texts |= {normalizer.normalize_str(text) for text in normalized if text in texts}
            changes.append(normalizer.normalize_str)
        self.everywhere = Control(texts, changes)
        """All of them."""
        opening, closing = (profile.think.open, profile.think.close) if profile.think is not None else ("", "")
        think = {text for text in texts if text in opening or text in closing}
        # Some clients send reasoning back in the content, and templates look there for its markers.
        self._in_answers = Control(texts - (think - {*profile.tool_format.markers}), changes)
        block = f"{re.escape(opening)}.*?{re.escape(closing)}"
        self._think = re.compile("|".join((block, *map(re.escape, sorted(think, key=len, reverse=True)))), re.DOTALL)

    def of(self, role: str, field: str, value: Any) -> Control:
        """Return what is hidden in a field of a message.

        In the content of the model's own answers the think markers stay, unless a control text appears where a template takes
        them out. Those of gpt-oss divide messages and do not stay.
        """
        if role != "assistant" or field != "content" or not isinstance(value, str):
            return self.everywhere
        without = self._think.sub("", self._in_answers.blanked(value))
        return self.everywhere if self.everywhere.is_in(without) else self._in_answers


class Placeholders:
    """Stand for the control texts of one prompt while its chat template is rendered."""

    def __init__(self) -> None:
        # Clients cannot guess the name, and it has only letters and digits so that no template changes it.
        self._name = secrets.token_hex(16)
        self._hidden: list[list[str]] = []

    def insert(self, value: Any, control: Control) -> Any:
        """Return the value with a placeholder for each control text in it, at any depth."""
        if isinstance(value, str):
            return self._hidden_in(value, control)
        if isinstance(value, Mapping):
            mapping = cast("Mapping[str, Any]", value)
            return {self.insert(key, control): self.insert(inner, control) for key, inner in mapping.items()}
        if isinstance(value, list):
            return [self.insert(inner, control) for inner in cast("list[Any]", value)]
        return value

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of the rendered text that are tokenised one by one; each control text is two of them, or more."""
        if not self._hidden:
            return [text]
        parts = re.split(f"{self._name}([0-9]+)x", text)
        # At odd positions are the numbers of placeholders.
        return [piece for i, part in enumerate(parts) for piece in (self._hidden[int(part)] if i % 2 else (part,))]

    def _hidden_in(self, text: str, control: Control) -> str:
        parts, position = list[str](), 0
        for start, end in control.spans(text):
            self._hidden.append([*control.pieces(text[start:end])])
            parts += (text[position:start], f"{self._name}{len(self._hidden) - 1}x")
            position = end
        return "".join((*parts, text[position:])) if parts else text


def _replacements(template: str) -> Iterator[Change]:
    """Yield the replacements that a chat template may make in a message, each by itself, then all of them in their order."""
    pairs = [(ast.literal_eval(old), ast.literal_eval(new)) for old, new in _REPLACEMENT.findall(template)]
    for pair in pairs:
        yield lambda text, pair=pair: text.replace(*pair)
    if len(pairs) > 1:
        yield lambda text: reduce(lambda changed, pair: changed.replace(*pair), pairs, text)


def alternatives(texts: Iterable[str]) -> str:
    """Return a pattern of the longest of some texts.

    Texts are grouped by their first characters: some tokenizers have thousands of them, of which a flat alternation would
    try each one at every `<`.
    """
    rests: dict[str, list[str]] = {}
    for text in texts:
        rests.setdefault(text[:1], []).append(text[1:])
    ends = rests.pop("", None) is not None
    branches = [re.escape(first) + alternatives(rest) for first, rest in rests.items()]
    inner = f"(?:{'|'.join(branches)})" if len(branches) > 1 else "".join(branches)
    return f"(?:{inner})?" if ends and branches else inner
