"""The names by which clients may reach the server.

A web page can give its own name the address of its visitor's machine (DNS rebinding). What it then sends is of its own origin
for the browser, and only the header Host tells it from the requests of the machine's programs.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from autotool_core.errors import InvalidRequestError
from autotool_server import errors
from autotool_server.api.access_log import PROBES
from autotool_server.settings import Settings

LOCAL = (".localhost", ".internal")
"""Ends of names that nobody can register: those of this machine, and of its host in containers (host.docker.internal)."""


class AllowedHosts:
    """Answers 403 to requests whose Host is a name of another server, but for health probes and metrics.

    IP addresses are no names: no page can take them.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._is_open = not _is_checked(settings) or "*" in settings.allowed_hosts
        self._allowed = {name.lower() for name in ("localhost", settings.host, *settings.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, or answer in its place."""
        # The start and the end of the app come here too, without headers.
        is_open = self._is_open or scope["type"] != "http" or scope["path"] in PROBES
        is_allowed = is_open or all(self._allows(host) for host in Headers(scope=scope).getlist("host"))
        await (self._app if is_allowed else errors.response(_refusal()))(scope, receive, send)

    def _allows(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        except ValueError:
            return False
        return name in self._allowed or name.endswith(LOCAL) or _is_address(name)


def _is_checked(settings: Settings) -> bool:
    """Whether names are checked: the operator lists them, or a page could come past a loopback address without a key."""
    is_loopback = settings.host == "localhost" or (_is_address(settings.host) and ip_address(settings.host).is_loopback)
    return bool(settings.allowed_hosts) or (is_loopback and settings.api_key is None and settings.keys is None)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _refusal() -> InvalidRequestError:
    return InvalidRequestError(
        "Host is not a name of this server. Ask for localhost or its IP address, or start it with --allowed-hosts NAME.",
        code="host_not_allowed",
        status=403,
    )
