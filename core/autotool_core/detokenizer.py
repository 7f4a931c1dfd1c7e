"""Incremental decoding of token ids to text."""

from collections.abc import Collection, Sequence

from tokenizers.decoders import DecodeStream

from autotool_core.tokenizer import Tokenizer

# The text of a token depends on few tokens before it; a longer context would only cost time.
_CONTEXT_TOKENS = 8
# No character has more bytes, hence no character has more tokens.
_CHARACTER_TOKENS = 4
# `DecodeStream` decodes everything that it holds at every token, so a run of broken characters must not grow without bound.
_MAX_HELD_TOKENS = 32

# `DecodeStream` raises it if stray bytes change the text before them, which has already been returned.
_INVALID_PREFIX = "Invalid prefix"


class Detokenizer:
    """Decodes one turn; a character that is split over tokens is returned with its last token.

    `context`: the last token ids of the prompt, so that the first token decodes as in the middle of the text (some
    tokenizers strip a leading space). Special tokens make no text, except those in `keep`.
    """

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = (), keep: Collection[int] = ()) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._dropped = frozenset(tokenizer.all_special_ids) - frozenset(keep)
        self._restart(context[-_CONTEXT_TOKENS:])

    def makes_text(self, token_id: int) -> bool:
        """Return whether a token is part of the text."""
        return token_id not in self._dropped

    def push(self, token_ids: Sequence[int]) -> str:
        """Return the text that these tokens complete."""
        return "".join([self._step(token_id) for token_id in token_ids if token_id not in self._dropped])

    def finish(self) -> str:
        """Return the text of the tokens that are still held, with U+FFFD for an incomplete character."""
        text = self._text(self._held)
        self._restart(self._held)
        return text

    def _step(self, token_id: int) -> str:
        self._held.append(token_id)
        try:
            text = self._stream.step(self._backend, token_id)
        except Exception as error:
            if not str(error).startswith(_INVALID_PREFIX):
                raise
            return self.finish()
        if text is None:
            return self._release() if len(self._held) > _MAX_HELD_TOKENS else ""
        self._before, self._held = self._held, []
        return text

    def _release(self) -> str:
        """Return the text of held tokens that a later token cannot change: those before a place where no character is split."""
        held = self._held
        whole = self._text(held)
        text, after = "", held
        for split in range(len(held) - _CHARACTER_TOKENS, len(held)):
            text, after = self._text(held[:split]), held[split:]
            if text + self._decode(after) == whole:
                break
        self._restart([])
        return text + self.push(after)

    def _restart(self, before: Sequence[int]) -> None:
        # A stream that begins inside a character would repeat all of `before` together with the character's end.
        self._before = [] if self._decode(before).endswith("\ufffd") else list(before)
        self._held: list[int] = []
        self._stream = DecodeStream(self._before)

    def _text(self, token_ids: Sequence[int]) -> str:
        before, whole = self._decode(self._before), self._decode([*self._before, *token_ids])
        return whole.removeprefix(before) if whole.startswith(before) else self._decode(token_ids)

    def _decode(self, token_ids: Sequence[int]) -> str:
        return self._backend.decode(token_ids, skip_special_tokens=False)
