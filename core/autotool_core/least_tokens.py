"""The least number of tokens that a text can have, which is known without tokenising it.

A tokenizer that loses no byte of a text makes tokens that together have all of them, so that N bytes are at least N / L tokens,
where L is the number of bytes of the longest token.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from autotool_core.tokenizer import Tokenizer

NFC_SHRINKS = 3
"""How many times fewer bytes a text may have in the normal form C: https://unicode.org/faq/normalization.html#12"""
KEEPING = {"Split", "ByteLevel", "Digits", "Metaspace", "Punctuation"}
"""Pre-tokenizers that keep every byte, unless their behaviour is `Removed`."""


def least_tokens(tokenizer: Tokenizer) -> Callable[[str], int]:
    """Return a function that returns the least number of tokens of a text: 0 where the tokenizer may lose bytes."""
    backend = tokenizer.backend_tokenizer
    shrinks = _shrinks(backend.normalizer)
    if shrinks is None or not _keeps_bytes(backend):
        return lambda text: 0
    longest = _longest(backend)

    def least(text: str) -> int:
        # Normal forms leave ASCII as it is.
        size = len(text) if text.isascii() else len(text.encode(errors="ignore")) // shrinks
        return -(-size // longest)

    return least


def _shrinks(normalizer: Any) -> int | None:
    """Return how many times fewer bytes a text may have when it is normalised; None where that is not known."""
    shrinks = 1
    for part in _parts(normalizer, "normalizers"):
        match part:
            case {"type": "NFC"}:
                shrinks = NFC_SHRINKS
            case {"type": "Prepend"} | {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}:
                pass
            case _:
                return None
    return shrinks


def _keeps_bytes(backend: Any) -> bool:
    """Return whether the tokens of a text have all bytes of what it is normalised to."""
    parts = [*_parts(backend.pre_tokenizer, "pretokenizers")]
    if any(part["type"] not in KEEPING or part.get("behavior") == "Removed" for part in parts):
        return False
    # Such an added token takes any number of spaces beside it.
    if any(token.lstrip or token.rstrip for token in backend.get_added_tokens_decoder().values()):
        return False
    return type(backend.model).__name__ == "BPE" and (_is_byte_level(parts, backend) or _falls_back(backend))


def _is_byte_level(parts: list[Mapping[str, Any]], backend: Any) -> bool:
    """Return whether the tokenizer writes bytes as characters, and has a token for each."""
    alphabet: list[str] = []
    if any(part["type"] == "ByteLevel" for part in parts):
        from tokenizers.pre_tokenizers import ByteLevel  # noqa: PLC0415 only a tokenizer needs it

        alphabet = ByteLevel.alphabet()
    return bool(alphabet) and all(backend.token_to_id(symbol) is not None for symbol in alphabet)


def _falls_back(backend: Any) -> bool:
    """Return whether the tokenizer has a token for each byte, which it takes for what no other token has."""
    return backend.model.byte_fallback and all(backend.token_to_id(f"<0x{byte:02X}>") is not None for byte in range(256))


def _longest(backend: Any) -> int:
    """Return the number of bytes that no token exceeds."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    pre_tokenizers = [*_parts(backend.pre_tokenizer, "pretokenizers")]
    # There a character is a byte; elsewhere the mark for a space has more bytes than the space.
    of_token = len if _is_byte_level(pre_tokenizers, backend) else _utf8_bytes
    tokens = [*map(of_token, backend.get_vocab(with_added_tokens=False)), *map(_utf8_bytes, added)]
    return max(tokens, default=1)


def _utf8_bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def _parts(component: Any, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a tokenizer's component, as they are written in its file."""
    if component is not None:
        yield from _flat(json.loads(component.__getstate__()), name)


def _flat(state: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    if state["type"] != "Sequence":
        yield state
        return
    for part in cast("list[Mapping[str, Any]]", state[name]):
        yield from _flat(part, name)
