"""Public addresses, connections to checked addresses alone, and bounded reading."""

from collections.abc import AsyncIterator

import httpx
import pytest

from autotool_server.tools.base import OversizeError, ToolError
from autotool_server.tools.network import PublicTransport, charset, is_public, read_body, resolve

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]
NOT_PUBLIC = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),  # noqa: S104 not bound
    *("169.254.169.254", "168.63.129.16", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.88.99.1"),
    *("198.18.0.1", "198.51.100.7", "203.0.113.7", "192.0.2.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "fe80::1", "fe80::1%2", "fec0::1", "fc00::1"),
    *("fd00:ec2::254", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2606:2800::1%1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(address)


class Network:
    """Replaces the network, records the requests, and refuses connections to some addresses."""

    def __init__(self, *answers: list[str], down: tuple[str, ...] = ()) -> None:
        self.answers = list(answers)
        self.down = down
        self.asked: list[tuple[str, int]] = []
        self.requests: list[httpx.Request] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host in self.down:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text="hello")

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=PublicTransport(httpx.MockTransport(self.answer), self.resolve))


async def test_the_checked_address_is_connected_to() -> None:
    """DNS rebinding: a second look-up would return 127.0.0.1, but there is none."""
    network = Network(["93.184.216.34"], ["127.0.0.1"])
    async with network.client() as client:
        response = await client.get("https://Public.Test./page?a=1")
    (request,) = network.requests
    assert network.asked == [("public.test.", 443)]
    assert str(request.url) == "https://93.184.216.34/page?a=1"
    assert request.headers["host"] == "public.test."
    assert request.extensions["sni_hostname"] == "public.test"
    assert str(response.url) == "https://public.test./page?a=1"


async def test_ipv6_and_port() -> None:
    network = Network(["2606:2800:220:1:248:1893:25c8:1946"])
    async with network.client() as client:
        await client.get("http://public.test:8080/")
    assert str(network.requests[0].url) == "http://[2606:2800:220:1:248:1893:25c8:1946]:8080/"
    assert network.asked == [("public.test", 8080)]


@pytest.mark.parametrize("addresses", [["93.184.216.34", "127.0.0.1"], ["::1", "93.184.216.34"], []])
async def test_every_address_must_be_public(addresses: list[str]) -> None:
    network = Network(addresses)
    async with network.client() as client:
        with pytest.raises(ToolError, match="not on the public internet"):
            await client.get("http://public.test/")
    assert not network.requests


async def test_the_next_address_is_tried_if_one_is_down() -> None:
    network = Network(["2606:2800:220:1::1", "93.184.216.34"], down=("2606:2800:220:1::1",))
    async with network.client() as client:
        assert (await client.get("http://public.test/")).text == "hello"
    assert [request.url.host for request in network.requests] == ["2606:2800:220:1::1", "93.184.216.34"]
    assert len(network.asked) == 1


@pytest.mark.parametrize(
    "host", ["2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0", "::ffff:127.0.0.1", "::1", "::", "LOCALHOST"]
)
async def test_unusual_notations_of_addresses(host: str) -> None:
    """Notations that only the system's resolver reads."""
    addresses = await resolve(host, 80)
    assert addresses
    assert not any(map(is_public, addresses))


async def endless(sent: list[int]) -> AsyncIterator[bytes]:
    while True:
        sent.append(1000)
        yield b"x" * 1000


async def test_reading_stops_at_the_limit() -> None:
    sent = list[int]()
    with pytest.raises(OversizeError, match="larger than 4096 bytes"):
        await read_body(httpx.Response(200, content=endless(sent)), 4096)
    assert sum(sent) == 5000


async def test_a_body_as_large_as_the_limit() -> None:
    assert len(await read_body(httpx.Response(200, stream=httpx.ByteStream(b"x" * 4096)), 4096)) == 4096
    with pytest.raises(OversizeError):
        await read_body(httpx.Response(200, stream=httpx.ByteStream(b"x" * 4097)), 4096)


async def test_compressed_bodies_are_refused() -> None:
    """A few bytes of gzip can expand to megabytes."""
    response = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b""))
    with pytest.raises(ToolError, match="compressed"):
        await read_body(response, 10)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [("text/html", "utf-8"), ("text/html; charset=ISO-8859-1", "iso8859-1"), ("text/html; charset=punycode", "utf-8"),
     ("text/html; charset=zip", "utf-8"), ("text/html; charset=nonsense", "utf-8"),
     ("text/html; charset=Shift_JIS", "shift_jis")],
)  # fmt: skip
def test_charset(content_type: str, encoding: str) -> None:
    assert charset(httpx.Response(200, headers={"Content-Type": content_type})) == encoding
