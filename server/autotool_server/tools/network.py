"""HTTP helpers for tools: bounded reading of bodies, and a transport to public addresses only (for `fetch`).

The transport resolves a host once and connects to the address that it has checked. A host that changes its address between
check and connection (DNS rebinding) is therefore not reached.
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
"""Returns the addresses of a host and a port. Raises OSError or UnicodeError if there are none."""

# The result of `is_global` differs between releases of Python, so the special-purpose registries of IANA are listed here.
# They do not have 168.63.129.16, at which Azure serves its own machines.
_NOT_PUBLIC = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # IETF protocol assignments with Teredo, documentation, 6to4, AS112, documentation.
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
]
# Global unicast addresses of IPv6; loopback, mapped, local and multicast addresses are outside.
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")

# Python also has text encodings that take time quadratic in the length of the text (punycode, idna).
_ALLOWED_CHARSET = re.compile(r"(utf-|iso8859-|cp125|ascii|euc_|gb|big5|shift_jis|koi8)")


def is_public(address: str) -> bool:
    """Return whether an address belongs to the public internet. A NAT64 address is judged by the address that it embeds."""
    if "%" in address:
        return False
    ip = ip_address(address)
    if ip in _NAT64:
        return is_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not any(ip in network for network in _NOT_PUBLIC)


@cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context of all clients. It trusts certifi's list, or SSL_CERT_FILE; reading either is slow."""
    return httpx.create_ssl_context()


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses that the system would connect to, for any notation of the host."""
    results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in results]


class PublicTransport(httpx.AsyncBaseTransport):
    """Connects to public addresses only: it resolves the host of each request once and connects to a checked address.

    All addresses of a host must be public. The `Host` header and the name in TLS stay those of the URL. Raises ToolError.
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
        host = _host(url)
        try:
            addresses = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError) as error:
            raise ToolError(f"The host {host} is not known.") from error
        if not addresses or not all(map(is_public, addresses)):
            raise ToolError(f"The host {host} is not on the public internet, and may not be reached.")
        return addresses


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """Return the request with its host replaced by an address. The headers, `Host` included, and the name in TLS stay."""
    extensions = {**request.extensions, "sni_hostname": _host(request.url).rstrip(".")}
    url = request.url.copy_with(host=address)
    return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return the body. Raises OversizeError if it has more than `limit` bytes, and then reads no further."""
    body = await read_prefix(response, limit + 1)
    if len(body) > limit:
        raise OversizeError(limit)
    return body


async def read_prefix(response: httpx.Response, size: int) -> bytes:
    """Return the first bytes of the body. Raises ToolError if it is compressed: it could expand to a huge size."""
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
    """Return the encoding that the response names; UTF-8 if it names none, or one that is not allowed."""
    try:
        name = codecs.lookup(response.charset_encoding or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if _ALLOWED_CHARSET.match(name) else "utf-8"
