"""The bytes of a token. The text of a token that ends inside a character is U+FFFD, its bytes are known all the same."""

import re
from functools import cache

from autotool_core.tokenizer import Tokenizer

_BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")


def token_bytes(token_id: int, text: str, tokenizer: Tokenizer) -> list[int] | None:
    """Return the bytes of a token whose text by itself is `text`; None if they cannot be known."""
    if "\ufffd" not in text:
        return list(text.encode())
    piece: str = tokenizer.backend_tokenizer.id_to_token(token_id) or ""
    if byte := _BYTE_PIECE.fullmatch(piece):
        return [int(byte[1], 16)]
    table = _byte_level()
    return [table[symbol] for symbol in piece] if piece and table.keys() >= set(piece) else None


@cache
def _byte_level() -> dict[str, int]:
    """Return the byte of each symbol of a byte-level tokenizer."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode  # noqa: PLC0415 slow to import

    return {symbol: byte for byte, symbol in bytes_to_unicode().items()}
