"""API keys: the client's and the operator's."""

import hmac

from fastapi import Request
from pydantic import SecretStr

from autotool_server.errors import UnauthorizedError
from autotool_server.settings import Settings


def authorize(request: Request, settings: Settings) -> None:
    """Raise UnauthorizedError unless the request carries the server's API key, if it has one."""
    if settings.api_key is not None and not _carries(request, settings.api_key):
        raise UnauthorizedError("Send the API key of this server: `Authorization: Bearer KEY`.")


def authorize_operator(request: Request, settings: Settings) -> None:
    """Raise UnauthorizedError unless the request carries the operator's key."""
    if settings.admin_key is None:
        raise UnauthorizedError("This server has no operator's key. Start it with AUTOTOOL_ADMIN_KEY set.")
    if not _carries(request, settings.admin_key):
        raise UnauthorizedError("Send the operator's key: `Authorization: Bearer KEY`.")


def _carries(request: Request, key: SecretStr) -> bool:
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {key.get_secret_value()}".encode())
