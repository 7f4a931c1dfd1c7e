"""Random texts of a grammar, without a model: each step takes one of the bytes that xgrammar's mask allows."""

import random
from functools import cache

import xgrammar

END = 256
"""The token that ends a text; the tokens before it are the 256 bytes."""
CLOSERS = frozenset(map(ord, '"}]<>/'))


class DeadEndError(Exception):
    """A grammar that allows no further byte and no end."""


@cache
def _compiler() -> xgrammar.GrammarCompiler:
    vocabulary = [bytes([byte]) for byte in range(256)] + [b"</s>"]
    info = xgrammar.TokenizerInfo(vocabulary, vocab_size=len(vocabulary), stop_token_ids=[END])
    return xgrammar.GrammarCompiler(info, max_threads=1, cache_limit_bytes=2**26)


def matcher(tag: str) -> xgrammar.GrammarMatcher:
    """Return a matcher of a structural tag's text, byte by byte."""
    return xgrammar.GrammarMatcher(_compiler().compile_structural_tag(tag))


def accepts_whole(tag: str, text: str) -> bool:
    """Return whether a text is one that the grammar allows."""
    state = matcher(tag)
    return state.accept_string(text) and state.accept_token(END)


def walk(tag: str, seed: int, limit: int = 1500) -> str | None:
    """Return a random text of the grammar; None for one that has no end within `limit` bytes. Raises DeadEndError.

    The longer the text, the more often a byte is taken that may close something, so that most texts end.
    """
    state, draw, text = matcher(tag), random.Random(seed), bytearray()  # noqa: S311 no secret
    mask = xgrammar.allocate_token_bitmask(1, END + 1)
    for length in range(limit):
        state.fill_next_token_bitmask(mask)
        words = mask[0].tolist()
        allowed = [token for token in range(END + 1) if words[token // 32] >> (token % 32) & 1]
        if not allowed:
            raise DeadEndError
        token = draw.choices(allowed, [_weight(token, length) for token in allowed])[0]
        assert state.accept_token(token)
        if token == END:
            # Xgrammar lets halves of surrogate pairs through as bytes of their own, which engines decode like this.
            return text.decode(errors="replace")
        text.append(token)
    return None


def _weight(token: int, length: int) -> float:
    if token == END:
        return 1000
    if token in CLOSERS:
        return 4 + length / 8
    if token < 32:
        return 2
    return 0.5 if token < 127 else 0.1
