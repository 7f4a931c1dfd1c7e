"""API keys: the client's, those of many clients, and the operator's."""

import hmac
import ipaddress
from collections.abc import Iterable

from fastapi import Request
from pydantic import SecretStr

from autotool_server.api import access_log
from autotool_server.api.state import ServerState, state_of
from autotool_server.conversation.fair_semaphore import CURRENT_CLIENT
from autotool_server.errors import UnauthorizedError
from autotool_server.settings import Settings
from autotool_server.tracing import spans


def bearer_key(request: Request) -> str | None:
    """Return the key of the header `Authorization: Bearer KEY`; None if there is no such header."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def every_key(request: Request) -> list[str | None]:
    """Return the keys of Anthropic's clients, and of a route that clients of several protocols ask.

    They may send a key of another service beside the right one, since each of the two headers has a variable of its own.
    """
    return [bearer_key(request), request.headers.get("x-api-key")]


def authorize(keys: Iterable[str | None], state: ServerState) -> ServerState:
    """Return the state as the holder of one of the keys has it. Raises UnauthorizedError unless one is right.

    The server's own key, where it has one, is not limited; nor is anybody where there are no keys at all.
    """
    own, keyring = state.settings.api_key, state.keyring
    if own is None and keyring is None:
        return state
    given = [key for key in keys if key]
    if own is not None and any(_is_equal(key, own) for key in given):
        return state
    for key in given:
        if keyring is not None and (found := keyring.find(key)) is not None:
            access_log.note_key(found.name)
            spans.current().set({"autotool.key": found.name})
            return state.for_key(found)
    raise UnauthorizedError("Send the API key of this server: `Authorization: Bearer KEY`.")


def enter(keys: Iterable[str | None], request: Request) -> ServerState:
    """Return the state as `authorize` does, and note who the server's means are shared out between.

    These are the holders of keys, and the addresses of clients that have none.
    """
    state = authorize(keys, state_of(request))
    address = request.client.host if request.client is not None else ""
    CURRENT_CLIENT.set(_network(address) if state.key_name is None else f"key {state.key_name}")
    return state


def _network(address: str) -> str:
    """Return the address of a client, or the network of an IPv6 address: one client may have all of its addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # that of a Unix socket, or of a test
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address


async def need_key(request: Request) -> None:
    """Raise UnauthorizedError for a request without a right key: the dependency of routes that do nothing else with it."""
    authorize(every_key(request), state_of(request))


def authorize_operator(key: str | None, settings: Settings) -> None:
    """Raise UnauthorizedError unless the key is the operator's."""
    if settings.admin_key is None:
        raise UnauthorizedError("This server has no operator's key. Start it with AUTOTOOL_ADMIN_KEY set.")
    if not _is_equal(key, settings.admin_key):
        raise UnauthorizedError("Send the operator's key: `Authorization: Bearer KEY`.")


def _is_equal(key: str | None, expected: SecretStr) -> bool:
    return hmac.compare_digest((key or "").encode(), expected.get_secret_value().encode())
