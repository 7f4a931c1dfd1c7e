"""The built-in `fetch`: the content that it reads, and the addresses that it rejects.

`93.184.216.34` stands for a public host: the transport below it connects to a server on loopback instead, after the check.
"""

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from autotool_server.tools.base import OversizeError, Policy, Tool, ToolError
from autotool_server.tools.builtin.fetch import fetch_tool, html_text
from autotool_server.tools.network import PublicTransport, Resolver, resolve

PUBLIC = "93.184.216.34"
# Trusts nobody, and is quickly made.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass
class Site:
    """A server on loopback that answers each path with raw bytes, and a tool to which it is `public.test`."""

    pages: dict[str, bytes] = field(default_factory=dict[str, bytes])
    requests: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        writer.write(self.pages[head.split()[1]])
        writer.close()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return [PUBLIC] if host.endswith(".test") else await resolve(host, port)

    def tool(self, resolver: Resolver | None = None, policy: Policy | None = None, verify: ssl.SSLContext = NO_TLS) -> Tool:
        def transport() -> httpx.AsyncBaseTransport:
            return PublicTransport(Redirected(self.port, verify), resolver or self.resolve)

        return fetch_tool(policy or Policy(), transport)


class Redirected(httpx.AsyncHTTPTransport):
    """Connects to the server on loopback in place of the public address."""

    def __init__(self, port: int, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False)
        self.port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == PUBLIC:
            request.url = request.url.copy_with(host="127.0.0.1", port=self.port)
        return await super().handle_async_request(request)


@asynccontextmanager
async def serving(pages: dict[str, bytes], context: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site(pages)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site


def page(body: bytes, content_type: str = "text/plain", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def moved(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n".encode()


async def test_text() -> None:
    async with serving({"/a?b=1": page("Grüße".encode())}) as site:
        assert await site.tool().call({"url": "http://public.test/a?b=1#part"}) == "Grüße"
    assert "Host: public.test\r\n" in site.requests[0]


async def test_the_request_has_no_other_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no proxy, and there are no credentials and no cookies."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with serving({"/a": moved("/b"), "/b": page(b"there")}) as site:
        assert await site.tool().call({"url": "http://public.test/a"}) == "there"
    names = {line.split(":")[0].lower() for line in site.requests[1].strip().split("\r\n")[1:]}
    assert names == {"host", "accept", "accept-encoding", "connection", "user-agent"}


async def test_html() -> None:
    html = b"<!DOCTYPE html><title>T &amp; t</title><script>var a = '<p>';</script><p>One <b>two</b>\n<p>caf\xe9<!-- <p>no -->"
    async with serving({"/": page(html, "text/html; charset=latin-1")}) as site:
        assert await site.tool().call({"url": "http://public.test"}) == "T & t\n\nOne two\n\ncafé"


@pytest.mark.parametrize("piece", ["<!", "<a ", "</", "<script", "<!--", "<a x='", "&#", "<", "<script></", "&#99999"])
def test_hostile_html_takes_no_longer_than_its_length(piece: str) -> None:
    started = time.process_time()
    html_text(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 5.0  # html.parser: 13 s for 16 KB of the first


def test_a_number_of_a_thousand_digits() -> None:
    assert html_text("a &#" + "9" * 5000 + "; b").endswith("b")


async def test_other_types_are_named() -> None:
    async with serving({"/": page(b"%PDF" * 10, "application/pdf")}) as site:
        assert "type application/pdf, of 40 bytes" in str(await site.tool().call({"url": "http://public.test"}))


async def test_long_text_is_read_in_parts() -> None:
    text = "".join(f"{number} ü " for number in range(200))
    async with serving({"/": page(text.encode())}) as site:
        tool, parts, start = site.tool(policy=Policy(max_result_bytes=600)), list[str](), 0
        while True:
            result = await tool.call({"url": "http://public.test", "start": start})
            assert isinstance(result, str)
            assert len(result.encode()) <= 600
            part, _, note = result.partition("\n[cut here; read on with start=")
            parts.append(part)
            if not note:
                break
            start = int(note.rstrip("]"))
    assert "".join(parts) == text


async def test_an_endless_page() -> None:
    async with serving({"/": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 5_000_000}) as site:
        with pytest.raises(OversizeError):
            await site.tool().call({"url": "http://public.test"})


async def test_errors() -> None:
    async with serving({"/": page(b"no such page" + b"." * 900, status="404 Not Found"), "/cut": b"HTTP/1.1 200"}) as site:
        with pytest.raises(ToolError) as error:
            await site.tool().call({"url": "http://public.test"})
        assert str(error.value) == "HTTP 404: no such page" + "." * 488
        with pytest.raises(ToolError, match="broke off"):
            await site.tool().call({"url": "http://public.test/cut"})
    with pytest.raises(ToolError, match="cannot be reached"):
        await site.tool().call({"url": "http://public.test"})


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://2130706433/", "http://0177.0.0.1/", "http://017700000001/", "http://0x7f.1/",
        "http://0x7f000001/", "http://127.1/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::1]/",
        "http://[::]/", "http://0.0.0.0/", "http://0/", "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/",
        "http://LOCALHOST/", "http://localhost./", "http://good@127.0.0.1/", "http://public.test@127.0.0.1/",
        "http://127.0.0.1#@public.test/", "http://127.0.0.1\\@public.test/", "http://127.0.0.1:6379/", "http://public.test:22/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "file:///etc/passwd", "ftp://public.test/", "//public.test/",
        "http:///etc/passwd", "http://①②⑦.⓪.⓪.①/", "http://%31%32%37.0.0.1/", "gopher://127.0.0.1/", "http://\x00/", "",
        "http://public.test:0/", "http://" + "a" * 70 + ".com/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("redirected", [False, True], ids=["asked", "redirected"])
async def test_urls_that_are_not_reached(url: str, redirected: bool) -> None:
    """The URL is requested directly and as a redirect of a public page. A server on loopback would answer both."""
    if redirected and (not url.isprintable() or not url.isascii() or url in {"", "//public.test/", "http:///etc/passwd"}):
        pytest.skip("not a redirect to elsewhere")
    async with serving({"/": page(b"secret"), "/a": moved(url)}) as site:
        with pytest.raises(ToolError) as error:
            await site.tool().call({"url": "http://public.test/a" if redirected else url})
    assert "127.0.0.1" not in str(error.value) or "127.0.0.1" in url
    assert "cannot be reached" not in str(error.value), "it was tried"
    assert len(site.requests) == redirected


async def test_loopback_by_its_real_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is allowed, so the address alone is the reason."""
    async with serving({"/": page(b"secret")}) as site:
        monkeypatch.setattr("autotool_server.tools.builtin.fetch.PORTS", {site.port})
        for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"):
            with pytest.raises(ToolError, match="not on the public internet"):
                await fetch_tool().call({"url": f"http://{host}:{site.port}/"})
    assert not site.requests


async def test_rebinding() -> None:
    """The name changes its address after the check, and is not resolved again."""
    asked = list[str]()

    async def rebinding(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    async with serving({"/": page(b"public"), "/a": moved("/")}) as site:
        assert await site.tool(rebinding).call({"url": "http://rebind.test/"}) == "public"
        assert asked == ["rebind.test"]
        asked.clear()
        with pytest.raises(ToolError, match="not on the public internet"):
            await site.tool(rebinding).call({"url": "http://rebind.test/a"})


async def test_redirects_end() -> None:
    pages = {f"/{number}": moved(f"/{number + 1}") for number in range(9)}
    async with serving(pages | {"/9": page(b"there")}) as site:
        assert await site.tool().call({"url": "http://public.test/4"}) == "there"
        with pytest.raises(ToolError, match="more than 5 redirects"):
            await site.tool().call({"url": "http://public.test/3"})
    assert site.asked == ["public.test"] * 12


async def test_cancelled() -> None:
    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # the request, then the client's end
        left.set()
        writer.close()

    site = Site()
    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        site.port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await site.tool().call({"url": "http://public.test/"})
        async with asyncio.timeout(5):
            await left.wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key for public.test, in one file."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    file = tmp_path_factory.mktemp("tls") / "public.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=public.test"
    names = ["-addext", "subjectAltName=DNS:public.test", "-keyout", f"{file}.key", "-out", file]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.key").read_text())
    return file


@pytest.mark.parametrize(("host", "is_trusted"), [("public.test", True), ("other.test", False)])
async def test_tls_checks_the_name_of_the_url(certificate: Path, host: str, is_trusted: bool) -> None:
    """The connection goes to an address, but the certificate must be that of the name."""
    context, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str | None]()
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with serving({"/": page(b"private")}, context) as site:
        call: Callable[[], Awaitable[str | bytes]] = lambda: site.tool(  # noqa: E731
            verify=ssl.create_default_context(cafile=certificate)
        ).call({"url": f"https://{host}/"})
        if is_trusted:
            assert await call() == "private"
        else:
            with pytest.raises(ToolError, match="cannot be reached"):
                await call()
    assert names == [host]
