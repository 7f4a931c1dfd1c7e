"""The content encodings of request bodies: gzip and deflate (RFC 9110, section 8.4.1), decoded no further than is wanted."""

import zlib
from typing import Protocol

from autotool_core.errors import InvalidRequestError

GZIP_WINDOW = 16 + zlib.MAX_WBITS
ZLIB_METHOD = 8
"""Low half of the first byte of deflated data with zlib's header; data without a header never begins so."""
MAX_MEMBERS = 1000
"""Members of a body of gzip. Each takes time, also one that decodes to nothing."""


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
    """Decodes gzip or deflate as the data comes. Data of gzip may have several members, one after the other (RFC 1952)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inflater = zlib.decompressobj(GZIP_WINDOW) if encoding == "gzip" else None
        self._num_members = 1

    def decode(self, data: bytes, limit: int) -> bytes:
        decoded = bytearray()
        while data and len(decoded) < limit:
            inflater = self._inflater = self._inflater_of(data)
            try:
                decoded += inflater.decompress(data, limit - len(decoded))
            except zlib.error:
                raise self._invalid() from None
            data = inflater.unused_data
        return bytes(decoded)

    def finish(self) -> None:
        if self._inflater is not None and not self._inflater.eof:
            raise self._invalid()

    def _inflater_of(self, data: bytes) -> "zlib._Decompress":
        """Return what decodes the data, which is the beginning of the body, of a further member, or of neither."""
        if self._inflater is None:
            # Some clients send deflate without the header that the standard demands.
            has_header = data[0] % 16 == ZLIB_METHOD
            return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        if not self._inflater.eof:
            return self._inflater
        if self._encoding != "gzip":
            raise self._invalid()
        self._num_members += 1
        if self._num_members > MAX_MEMBERS:
            message = f"The body's gzip has more than {MAX_MEMBERS} members. Compress the body as a whole."
            raise InvalidRequestError(message, code="invalid_body")
        return zlib.decompressobj(GZIP_WINDOW)

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
