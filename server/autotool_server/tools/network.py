"""Reaching the network for a model: bounded reading, and, for `fetch`, public addresses only.

The name is resolved once and the connection goes to an address that was checked, so that a name which changes its address
between the two (DNS rebinding) gains nothing.
"""

import asyncio
import codecs
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from ipaddress import IPv4Address, ip_address, ip_network

import httpx

from autotool_server.tools.base import OversizeError, ToolError

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to its addresses. Raises OSError or UnicodeError where there are none."""

# What `is_global` lets through differs between releases of Python, so that the special-purpose registries of IANA are
# written out. Not in them: 168.63.129.16, at which Azure answers its own machines.
_NOT_PUBLIC = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # Teredo and its neighbours, documentation, 6to4.
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
]
# All of IPv6 that is given out to the public; loopback, mapped, local and multicast addresses lie outside of it.
_GIVEN_OUT = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")

# Python has text encodings that cost far more than the text is long (punycode, idna); pages use these.
_USUAL_CHARSET = re.compile(r"(utf-|iso8859-|cp125|ascii|euc_|gb|big5|shift_jis|koi8)")


def is_public(address: str) -> bool:
    """Whether the address belongs to the public internet; one that embeds another (NAT64) is judged by that."""
    if "%" in address:
        return False
    ip = ip_address(address)
    if ip in _NAT64:
        return is_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
    if ip.version == 6 and ip not in _GIVEN_OUT:
        return False
    return ip.is_global and not any(ip in network for network in _NOT_PUBLIC)


@cache
def certificates() -> ssl.SSLContext:
    """Whom TLS trusts: certifi's list, or SSL_CERT_FILE, which a service inside a company may need. Slow to read: read once."""
    return httpx.create_ssl_context()


async def resolve(host: str, port: int) -> list[str]:
    """The addresses that the system would connect to, whatever form the host is written in."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class PublicTransport(httpx.AsyncBaseTransport):
    """Connects to public addresses only: each request's host is resolved once, checked, and that address is used.

    All the addresses of a name must be public. `Host` and the name in TLS stay those of the URL. Raises ToolError.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, resolver: Resolver = resolve) -> None:
        self._inner = inner
        self._resolve = resolver

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        *others, last = await self._addresses(request.url)
        for address in others:
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._inner.handle_async_request(_pinned(request, last))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        host = _name(url)
        try:
            addresses = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError) as error:
            raise ToolError(f"The host {host} is not known.") from error
        if not addresses or not all(map(is_public, addresses)):
            raise ToolError(f"The host {host} is not on the public internet, and may not be reached.")
        return addresses


def _name(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """The request to an address; its headers, `Host` among them, and its name in TLS are those it had."""
    extensions = {**request.extensions, "sni_hostname": _name(request.url).rstrip(".")}
    url = request.url.copy_with(host=address)
    return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)


async def read(response: httpx.Response, limit: int) -> bytes:
    """The body, of at most so many bytes. Raises OversizeError, and reads no further, where it has more."""
    start = await read_start(response, limit + 1)
    if len(start) > limit:
        raise OversizeError(limit)
    return start


async def read_start(response: httpx.Response, size: int) -> bytes:
    """The first bytes of the body. Raises ToolError where it is compressed: a small body could unfold to a huge one."""
    if response.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
        raise ToolError("The answer is compressed, which was not asked for.")
    parts, length = list[bytes](), 0
    async for part in response.aiter_raw():
        parts.append(part)
        length += len(part)
        if length >= size:
            break
    return b"".join(parts)[:size]


def charset(response: httpx.Response) -> str:
    """The encoding that the response says it has; UTF-8 where it says none or none that is usual."""
    try:
        name = codecs.lookup(response.charset_encoding or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if _USUAL_CHARSET.match(name) else "utf-8"
