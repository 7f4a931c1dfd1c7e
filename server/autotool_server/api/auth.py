"""API keys: the client's and the operator's."""

import hmac
from collections.abc import Iterable

from fastapi import Request
from pydantic import SecretStr

from autotool_server.errors import UnauthorizedError
from autotool_server.settings import Settings


def bearer_key(request: Request) -> str | None:
    """Return the key of the header `Authorization: Bearer KEY`; None if there is no such header."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def every_key(request: Request) -> list[str | None]:
    """Return the keys of Anthropic's clients, and of a route that clients of several protocols ask.

    They may send a key of another service beside the right one, since each of the two headers has a variable of its own.
    """
    return [bearer_key(request), request.headers.get("x-api-key")]


def authorize(keys: Iterable[str | None], settings: Settings) -> None:
    """Raise UnauthorizedError unless one of the keys is the server's API key, if it has one."""
    expected = settings.api_key
    if expected is not None and not any(_is_equal(key, expected) for key in keys):
        raise UnauthorizedError("Send the API key of this server: `Authorization: Bearer KEY`.")


def authorize_operator(key: str | None, settings: Settings) -> None:
    """Raise UnauthorizedError unless the key is the operator's."""
    if settings.admin_key is None:
        raise UnauthorizedError("This server has no operator's key. Start it with AUTOTOOL_ADMIN_KEY set.")
    if not _is_equal(key, settings.admin_key):
        raise UnauthorizedError("Send the operator's key: `Authorization: Bearer KEY`.")


def _is_equal(key: str | None, expected: SecretStr) -> bool:
    return hmac.compare_digest((key or "").encode(), expected.get_secret_value().encode())
