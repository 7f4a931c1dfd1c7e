"""Limits of connections, over raw sockets: heads and bodies that never end, readers that take nothing, floods."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from typing import Any

import httpx
import pytest
from support.engines import until
from support.serving import Running, held, running, scripted

from autotool_server.launch.connections import Connections
from autotool_server.launch.http_protocol import MAX_HEAD_BYTES

TEXT = "It is four."
QUICK: Any = {"receive_seconds": 0.2, "keep_alive_seconds": 0.2}
BODY = json.dumps({"model": "tested", "messages": [{"role": "user", "content": "?"}], "mode": "short"}).encode()
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def head(length: int, path: str = "/v1/chat/completions") -> bytes:
    headers = "Host: localhost\r\nContent-Type: application/json"
    return f"POST {path} HTTP/1.1\r\n{headers}\r\nContent-Length: {length}\r\n\r\n".encode()


POST = head(len(BODY)) + BODY


class Peer:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and JSON body of the next response."""
        async with asyncio.timeout(20):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, json.loads(body)

    async def ended(self) -> bytes:
        """Return what comes until the connection is closed; fails if it stays open."""
        async with asyncio.timeout(20):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def connected(server: Running) -> AsyncIterator[Peer]:
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


async def trickle(peer: Peer, ended: asyncio.Task[Any]) -> None:
    """Send a byte now and then until a task has ended; fails after some seconds."""
    async with asyncio.timeout(20):
        while not ended.done():
            await peer.send(b" ")
            await asyncio.sleep(0.02)


async def metric(server: Running, name: str) -> float:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{server.url.removesuffix('/v1')}/metrics")).text
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " "))


def endless(kind: str) -> bytes:
    """Return a request whose head, or whatever else a parser keeps in memory, is larger than it may be."""
    line = b"x: " + b"y" * 1000 + b"\r\n"
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    return {
        "one header": start + b"x: " + b"y" * (8 * MAX_HEAD_BYTES),
        "many headers": start + line * (8 * MAX_HEAD_BYTES // 1000),
        "whole": start + line * 80 + b"\r\n",
        "url": b"GET /" + b"y" * (8 * MAX_HEAD_BYTES),
        "line ends": b"\r\n" * (4 * MAX_HEAD_BYTES),
    }[kind]


@pytest.mark.parametrize("kind", ["one header", "many headers", "whole", "url", "line ends"])
async def test_a_head_that_is_too_large_is_refused_before_the_key_is_checked(kind: str) -> None:
    async with running(scripted(TEXT), api_key="secret") as server, connected(server) as peer:
        await peer.send(endless(kind))
        status, headers, body = await peer.answer()
        assert (status, body["error"]["code"], headers["connection"]) == (431, "headers_too_large", "close")
        assert await peer.ended() == b""


async def test_trailers_without_end_close_the_connection() -> None:
    async with running(scripted(TEXT), receive_seconds=60) as server, connected(server) as peer:
        chunked = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        await peer.send(chunked + b"0\r\nx: " + b"y" * (8 * MAX_HEAD_BYTES))
        await peer.ended()


async def test_a_large_body_and_pipelined_requests_are_no_head() -> None:
    async with running(scripted(TEXT)) as server, connected(server) as peer:
        large = BODY.replace(b'"?"', b'"' + b"? " * 200 + b'"') + b" " * 500_000
        await peer.send(head(len(large)) + large + LIVE * 2000)
        for _ in range(2001):
            assert (await peer.answer())[0] == 200


async def test_a_head_that_comes_too_slowly_is_answered_408() -> None:
    async with running(scripted(TEXT), **QUICK) as server, connected(server) as peer:
        await peer.send(b"GET /health/live HTTP/1.1\r\nHost: loc")
        status, _, body = await peer.answer()
        assert (status, body["error"]["code"]) == (408, "request_timeout")
        assert await peer.ended() == b""


async def test_a_connection_without_a_request_is_closed_without_a_response() -> None:
    async with running(scripted(TEXT), **QUICK) as server, connected(server) as new, connected(server) as used:
        await used.send(LIVE)
        assert (await used.answer())[0] == 200
        assert (await new.ended(), await used.ended()) == (b"", b"")


async def test_a_second_head_that_comes_too_slowly_is_answered_408() -> None:
    async with running(scripted(TEXT), receive_seconds=0.2, keep_alive_seconds=30) as server, connected(server) as peer:
        await peer.send(LIVE)
        assert (await peer.answer())[0] == 200
        await peer.send(LIVE[:20])
        assert (await peer.answer())[0] == 408


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/tokenize"])
async def test_a_body_that_pauses_is_answered_408_and_its_bytes_are_given_back(path: str) -> None:
    async with running(scripted(TEXT), **QUICK) as server, connected(server) as peer:
        await peer.send(head(1000, path=path) + b"{" + b" " * 500)
        status, headers, body = await peer.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert "body did not arrive in time" in body["error"]["message"]
        assert await peer.ended() == b""
        await until(lambda: server.state.admission.body_bytes == 0)
        await server.idle()


async def test_a_body_that_trickles_for_ever_is_answered_408() -> None:
    async with running(scripted(TEXT), **QUICK) as server, connected(server) as peer:
        await peer.send(head(10**6))
        answer = asyncio.create_task(peer.answer())
        await trickle(peer, answer)
        assert (await answer)[0] == 408


async def test_a_body_that_comes_steadily_is_read() -> None:
    async with running(scripted(TEXT), receive_seconds=0.3) as server, connected(server) as peer:
        padded = BODY + b" " * 40_000
        await peer.send(head(len(padded)))
        for start in range(0, len(padded), 2000):
            await peer.send(padded[start : start + 2000])
            await asyncio.sleep(0.02)
        assert (await peer.answer())[0] == 200


async def test_the_rest_of_a_refused_body_is_not_waited_for() -> None:
    async with running(scripted(TEXT), api_key="secret", **QUICK) as server, connected(server) as peer:
        await peer.send(head(10**6) + b"{")
        assert (await peer.answer())[0] == 401
        await trickle(peer, asyncio.create_task(peer.ended()))


async def test_a_connection_goes_on_after_the_rest_of_a_refused_body() -> None:
    async with running(scripted(TEXT), api_key="secret") as server, connected(server) as peer:
        await peer.send(head(10) + b"{")
        assert (await peer.answer())[0] == 401
        await peer.send(b" " * 9 + LIVE)
        assert (await peer.answer())[0] == 200


async def test_a_reader_that_takes_nothing_is_cut_and_its_engine_request_ends() -> None:
    text = "word " * 20_000
    async with running(scripted(text), send_seconds=1, max_concurrent_requests=1) as server, connected(server) as peer:
        fields = {"stream": True, "logprobs": True, "top_logprobs": 20, "max_tokens": 3000}
        body = json.dumps(json.loads(BODY) | fields).encode()
        await peer.send(head(len(body)) + body)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] of the reader's side too
        await until(lambda: server.state.admission.in_flight == 1)
        await server.idle()
        refused = await metric(server, 'autotool_requests_total{mode="short",resolved="short",status="499"}')
        assert refused == 1


async def test_a_reader_that_trickles_is_cut_and_its_engine_request_ends() -> None:
    text = "word " * 20_000
    async with running(scripted(text), send_seconds=1, max_concurrent_requests=1) as server:
        fields = {"stream": True, "logprobs": True, "top_logprobs": 20, "max_tokens": 3000}
        body = json.dumps(json.loads(BODY) | fields).encode()
        with closing(socket.socket()) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            peer.connect(("127.0.0.1", int(server.url.split(":")[2].partition("/")[0])))
            peer.sendall(head(len(body)) + body)
            await until(lambda: server.state.admission.in_flight == 1)
            while server.state.admission.in_flight:
                await asyncio.sleep(0.1)
                with suppress(ConnectionResetError):
                    peer.recv(100)
        assert await metric(server, 'autotool_requests_total{mode="short",resolved="short",status="499"}') == 1


async def test_the_bodies_of_all_requests_are_bounded_together() -> None:
    async with running(scripted(TEXT), max_body_bytes=4096, max_bodies_bytes=8192) as server:
        async with connected(server) as first, connected(server) as second:
            for peer in (first, second):
                await peer.send(head(4096) + BODY + b" " * (4000 - len(BODY)))
            await until(lambda: server.state.admission.body_bytes == 8000)
            assert await metric(server, "autotool_request_body_bytes") == 8000
            async with connected(server) as third:
                await third.send(head(4096) + b" " * 4096)
                status, headers, body = await third.answer()
            assert (status, headers["retry-after"], body["error"]["code"]) == (503, "1", "overloaded")
            await first.send(b" " * 96)
            assert (await first.answer())[0] == 200
        async with connected(server) as fourth:
            await fourth.send(POST)
            assert (await fourth.answer())[0] == 200
        await until(lambda: server.state.admission.body_bytes == 0)


async def test_a_body_counts_until_its_answer_has_ended() -> None:
    engine = scripted(TEXT)
    release = held(engine)
    async with running(engine) as server, connected(server) as peer:
        await peer.send(POST)
        await until(lambda: engine.in_flight() == 1)
        assert server.state.admission.body_bytes == len(BODY)
        release.set()
        assert (await peer.answer())[0] == 200
        await until(lambda: server.state.admission.body_bytes == 0)


async def test_idle_connections_make_room_for_probes_and_requests(caplog: pytest.LogCaptureFixture) -> None:
    async with running(scripted(TEXT), max_connections=4) as server:
        async with connected(server) as oldest, connected(server), connected(server), connected(server):
            async with connected(server) as probe:
                await probe.send(LIVE)
                assert (await probe.answer())[0] == 200
                await probe.send(POST)
                assert (await probe.answer())[0] == 200
            assert await oldest.ended() == b""
        assert await metric(server, "autotool_connections_refused_total") == 1
        assert "--max-connections" in caplog.text


async def test_probes_are_answered_while_every_other_connection_is_busy(caplog: pytest.LogCaptureFixture) -> None:
    engine = scripted(TEXT)
    release = held(engine)
    async with running(engine, max_connections=4) as server, AsyncExitStack() as stack:
        busy = [await stack.enter_async_context(connected(server)) for _ in range(3)]
        for peer in busy:
            await peer.send(POST)
        await until(lambda: engine.in_flight() == 3)
        async with connected(server) as other:
            await other.send(POST)
            status, headers, body = await other.answer()
            assert (status, headers["retry-after"], body["error"]["code"]) == (503, "1", "overloaded")
        async with connected(server) as probe:
            await probe.send(LIVE)
            assert (await probe.answer())[0] == 200
        release.set()
        assert [(await peer.answer())[0] for peer in busy] == [200, 200, 200]
        await busy[0].send(POST)
        assert (await busy[0].answer())[0] == 200
        assert await metric(server, 'autotool_requests_refused_total{reason="connections"}') >= 1
    assert [record.levelno for record in caplog.records if "connections" in record.message] == [logging.WARNING]


def test_connections_leave_half_of_the_descriptors(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    limit = Connections.of(8192, lambda: None)
    assert "only 512" in caplog.text
    assert limit._limit == 512
