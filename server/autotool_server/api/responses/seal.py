"""The seal on reasoning: a text that only this server can read, which the client keeps and sends back."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr


class Seal:
    """Seals and opens texts with a key (Fernet, https://github.com/fernet/spec); without one, the key is the process's own."""

    def __init__(self, key: SecretStr | None) -> None:
        self._fernet = Fernet(_fernet_key(key.get_secret_value()) if key is not None else Fernet.generate_key())

    def seal(self, text: str) -> str:
        """Return the sealed text."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str | None:
        """Return the text; None if it was not sealed with this key."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            return None


def _fernet_key(key: str) -> bytes:
    """Return Fernet's form of a key, which the operator may choose freely."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())
