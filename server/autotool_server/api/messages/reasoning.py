"""Signatures of thinking blocks. Clients send them back as they are and cannot read them.

A block that is shown has a digest as its signature, which is not checked: any client may write a history, over every
protocol. A block without its text, for a client that asked for that (`thinking.display` is `omitted`), has the text in its
signature, so that it comes back.
"""

import base64
import binascii
import hashlib

SEALED = "text."


def signature(text: str) -> str:
    """Return the signature of a shown block."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def sealed(text: str) -> str:
    """Return the signature of a block that is sent without its text."""
    return SEALED + base64.b64encode(text.encode()).decode()


def opened(seal: str) -> str:
    """Return the text in a signature; empty for any other signature, such as that of another server."""
    if not seal.startswith(SEALED):
        return ""
    try:
        return base64.b64decode(seal.removeprefix(SEALED), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
