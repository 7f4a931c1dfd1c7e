"""Hides control texts in what clients write, so that a model reads them as characters.

A control text is the text of a token or marker that divides a conversation. Where a client's text holds one, it is replaced
by a placeholder while the chat template is rendered, and is then tokenised in two pieces: nothing that a client writes ends a
turn, opens one in another role or makes a call.
"""

import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast

from autotool_core.profile import Profile
from autotool_core.tokenizer import Tokenizer

_HTML_TAG = re.compile(r"</?[a-z][a-z0-9]*/?>")


class ControlTexts:
    """The texts that control one checkpoint: its special and other added tokens, and the markers of its profile.

    Not among them are single characters, which cannot be split, and HTML tags that are tokens of their own (those of Gemma),
    unless the profile or the chat template uses them.
    """

    def __init__(self, tokenizer: Tokenizer, profile: Profile) -> None:
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        tokens = {str(token.content): bool(token.special) for token in added}
        template = str(tokenizer.chat_template)
        markers = {*profile.markers}
        texts = {
            text
            for text in {*tokens, *markers}
            if len(text.strip()) > 1
            and (tokens.get(text) or text in markers or text in template or not _HTML_TAG.fullmatch(text))
        }
        self.everywhere = _any_of(texts)
        """Matches every control text; None if there is none."""
        think = profile.think
        # Some clients send reasoning back in the content, and templates look there for its markers.
        kept = {think.open, think.close} - {*profile.tool_format.markers} if think is not None else set[str]()
        self.in_answers = _any_of(texts - kept)
        """The same without the think markers, for the content of the model's own answers. gpt-oss's divide messages too."""

    def pattern(self, role: str, field: str) -> re.Pattern[str] | None:
        """Return the pattern of what is hidden in a field of a message."""
        return self.in_answers if role == "assistant" and field == "content" else self.everywhere


class Placeholders:
    """Stand for the control texts of one prompt while its chat template is rendered."""

    def __init__(self) -> None:
        # Clients cannot guess the name, and it has only letters and digits so that no template changes it.
        self._name = secrets.token_hex(16)
        self._hidden: list[list[str]] = []

    def insert(self, value: Any, control: re.Pattern[str] | None) -> Any:
        """Return the value with a placeholder for each control text in it, at any depth."""
        if control is None:
            return value
        if isinstance(value, str):
            return control.sub(lambda match: self._placeholder(match[0], control), value)
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

    def _placeholder(self, text: str, control: re.Pattern[str]) -> str:
        self._hidden.append([*_split(text, control)])
        return f"{self._name}{len(self._hidden) - 1}x"


def _split(text: str, control: re.Pattern[str]) -> Iterator[str]:
    """Yield pieces of a control text in none of which there is one."""
    start = 0
    while match := control.search(text, start):
        yield text[start : match.start() + 1]
        start = match.start() + 1
    yield text[start:]


def _any_of(texts: Collection[str]) -> re.Pattern[str] | None:
    return re.compile(_alternatives(sorted(texts))) if texts else None


def _alternatives(texts: Iterable[str]) -> str:
    """Return a pattern of the longest of some texts.

    Texts are grouped by their first characters: some tokenizers have thousands of them, of which a flat alternation would
    try each one at every `<`.
    """
    rests: dict[str, list[str]] = {}
    for text in texts:
        rests.setdefault(text[:1], []).append(text[1:])
    ends = rests.pop("", None) is not None
    branches = [re.escape(first) + _alternatives(rest) for first, rest in rests.items()]
    inner = f"(?:{'|'.join(branches)})" if len(branches) > 1 else "".join(branches)
    return f"(?:{inner})?" if ends and branches else inner
