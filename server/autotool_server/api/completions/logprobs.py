"""Log-probabilities in the form of OpenAI's completions: one list a kind of value, one entry a token."""

from collections.abc import Collection, Sequence
from typing import Any

from autotool_core.detokenizer import Detokenizer
from autotool_core.tokenizer import Tokenizer
from autotool_server.engines.base import TokenLogprob

MIN_LOGPROB = -9999.0
"""JSON has no infinity."""


class LogprobLists:
    """Makes the lists of one choice's tokens. It knows how far the text has come, since offsets count from its beginning.

    `kept`: the special tokens that make text.
    """

    def __init__(self, tokenizer: Tokenizer, kept: Collection[int] = ()) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._detokenizer = Detokenizer(tokenizer, keep=kept)
        self._offset = 0

    def lists(self, logprobs: Sequence[TokenLogprob]) -> dict[str, list[Any]]:
        """Return the lists of the next tokens. Log-probabilities are in nats, offsets in characters of the text."""
        return {
            "text_offset": [self._advance(entry.token_id) for entry in logprobs],
            "token_logprobs": [max(entry.logprob, MIN_LOGPROB) for entry in logprobs],
            "tokens": [self._text(entry.token_id) for entry in logprobs],
            "top_logprobs": [self._alternatives(entry) for entry in logprobs],
        }

    def _advance(self, token_id: int) -> int:
        """Return where a token begins in the text."""
        offset = self._offset
        self._offset += len(self._detokenizer.push((token_id,)))
        return offset

    def _alternatives(self, entry: TokenLogprob) -> dict[str, float]:
        """Return the likeliest tokens and the one that was drawn; of tokens with the same text, the likeliest."""
        alternatives: dict[str, float] = {}
        for token_id, logprob in (*entry.top, (entry.token_id, entry.logprob)):
            alternatives.setdefault(self._text(token_id), max(logprob, MIN_LOGPROB))
        return alternatives

    def _text(self, token_id: int) -> str:
        # By the backend, as the text is decoded: the tokenizer itself may drop spaces.
        return self._backend.decode([token_id], skip_special_tokens=False)
