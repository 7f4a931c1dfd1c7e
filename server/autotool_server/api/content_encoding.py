"""The content encodings of request bodies: gzip and deflate (RFC 9110, section 8.4.1), decoded no further than is wanted."""

import zlib
from typing import Protocol

from autotool_core.errors import InvalidRequestError

GZIP_WINDOW = 16 + zlib.MAX_WBITS
ZLIB_METHOD = 8
"""Low half of the first byte of deflated data with zlib's header; data without a header never begins so."""


class ContentDecoder(Protocol):
    """Decodes a body part by part."""

    def decode(self, data: bytes, limit: int) -> bytes:
        """Return what the data decodes to, at most `limit` bytes of it, one or more. Raises InvalidRequestError."""
        ...

    def finish(self) -> None:
        """Raise InvalidRequestError if the end is missing."""
        ...


class Identity:
    """Passes a body on that is not encoded."""

    def decode(self, data: bytes, limit: int) -> bytes:
        return data

    def finish(self) -> None:
        """Do nothing: there is no end that could be missing."""


class Inflater:
    """Decodes gzip or deflate as the data comes."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inflater = zlib.decompressobj(GZIP_WINDOW) if encoding == "gzip" else None

    def decode(self, data: bytes, limit: int) -> bytes:
        if not data:
            return b""
        if self._inflater is None:
            # Some clients send deflate without the header that the standard demands.
            has_header = data[0] % 16 == ZLIB_METHOD
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        try:
            decoded = self._inflater.decompress(data, limit)
        except zlib.error:
            raise self._invalid() from None
        if self._inflater.unused_data:
            raise self._invalid()
        return decoded

    def finish(self) -> None:
        if self._inflater is not None and not self._inflater.eof:
            raise self._invalid()

    def _invalid(self) -> InvalidRequestError:
        return InvalidRequestError(f"The body is not valid {self._encoding}.", code="invalid_body")


def content_decoder(encoding: str) -> ContentDecoder:
    """Return the decoder of a header `Content-Encoding`. Raises InvalidRequestError (415) for another than gzip and deflate."""
    match encoding.strip().lower():
        case "" | "identity":
            return Identity()
        case "gzip" | "x-gzip":
            return Inflater("gzip")
        case "deflate":
            return Inflater("deflate")
        case _:
            message = "Content-Encoding must be gzip or deflate, or the body sent as it is."
            raise InvalidRequestError(message, code="unsupported_encoding", status=415)
