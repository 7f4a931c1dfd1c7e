"""API keys: how a new one is made, and the hash by which one is recognised."""

import hashlib
import secrets

PREFIX = "at-"
"""What a new key begins with, so that people and scanners of secrets know it for one."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
NAME_RULE = "letters, digits, dots, - and _, at most 64, the first of them a letter or a digit"
"""What a key may be called: the name is written into logs and figures."""


def new_key() -> str:
    """Return a new key, of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """Return the SHA-256 hash of a key in hexadecimal digits. It needs no salt: nobody can guess 256 random bits."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
