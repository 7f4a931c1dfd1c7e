"""Encodes texts of which most parts have been encoded before, such as a conversation that is sent again with a new message.

A text is cut before each special token that a tokenizer finds wherever it stands: the ids of a text are those of its segments.
Segments that were encoded before are kept, each under a digest of its text.

Why a cut changes nothing (https://huggingface.co/docs/tokenizers/api/added-tokens): a tokenizer first looks for its added
tokens in the text as it is written, from the left and the longest of those that begin at a place. What stands between two of
them is normalised, divided and encoded by itself. A place before such a token is a cut if no other one could reach across it.
"""

import re
from array import array
from collections import OrderedDict
from collections.abc import Collection
from hashlib import blake2b
from threading import Lock
from typing import Any

from autotool_core.control_text import alternatives
from autotool_core.tokenizer import Tokenizer

MAX_KEPT_TOKENS = 4_000_000
"""Tokens that are kept together, of 4 bytes each; a segment counts as `OVERHEAD_TOKENS` more."""
OVERHEAD_TOKENS = 64
_DIGEST_BYTES = 16


class TextEncoder:
    """Encodes texts as `Tokenizer.encode` does without the tokens that begin a sequence. Several threads may use it.

    `max_kept_tokens`: how much is kept of what was encoded before; what was used least recently is dropped first.
    """

    def __init__(self, tokenizer: Tokenizer, max_kept_tokens: int = MAX_KEPT_TOKENS) -> None:
        self._backend = tokenizer.backend_tokenizer
        # As `Tokenizer.encode` does each time: a tokenizer's file may name both.
        self._backend.no_truncation()
        self._backend.no_padding()
        self._cut = re.compile(alternatives(sorted(cut_tokens(self._backend))) or "(?!)")
        self._max_kept = max_kept_tokens
        self._num_kept = 0
        self._kept: OrderedDict[bytes, array[int]] = OrderedDict()
        self._lock = Lock()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text. The segments that are not kept are encoded without the interpreter's lock."""
        segments = self._segments(text)
        keys = [blake2b(segment.encode(), digest_size=_DIGEST_BYTES).digest() for segment in segments]
        found = self._find(keys)
        if missing := {key: segment for key, segment in zip(keys, segments, strict=True) if key not in found}:
            encodings = self._backend.encode_batch_fast([*missing.values()], add_special_tokens=False)
            new = {key: array("I", encoding.ids) for key, encoding in zip(missing, encodings, strict=True)}
            self._keep(new)
            found |= new
        ids: list[int] = []
        for key in keys:
            ids += found[key]
        return ids

    def _segments(self, text: str) -> list[str]:
        cuts = [match.start() for match in self._cut.finditer(text)]
        return [text[start:end] for start, end in zip((0, *cuts), (*cuts, len(text)), strict=True) if end > start]

    def _find(self, keys: Collection[bytes]) -> dict[bytes, "array[int]"]:
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def _keep(self, new: dict[bytes, "array[int]"]) -> None:
        with self._lock:
            for key, ids in new.items():
                if key not in self._kept:
                    self._kept[key] = ids
                    self._num_kept += len(ids) + OVERHEAD_TOKENS
            while self._num_kept > self._max_kept:
                _, ids = self._kept.popitem(last=False)
                self._num_kept -= len(ids) + OVERHEAD_TOKENS


def cut_tokens(backend: Any) -> set[str]:
    """Return the texts of a tokenizer's added tokens before which a text may be cut, wherever they stand in it.

    They are found in the text as it is written, and neither they nor a longer one that begins with them take whitespace before
    them. No added token holds their first character behind its own, so that none reaches across the cut. `backend`: a
    `tokenizers.Tokenizer`.
    """
    tokens = [*backend.get_added_tokens_decoder().values()]
    if backend.encode_special_tokens or any(token.single_word for token in tokens):
        return set()
    written = [token for token in tokens if not token.normalized and token.content]
    inner = {character for token in written for character in token.content[1:]}
    stripping = tuple(token.content for token in written if token.lstrip)
    safe = {token.content for token in written if token.content[0] not in inner and not token.content[0].isspace()}
    return {text for text in safe if not any(other.startswith(text) for other in stripping)}
