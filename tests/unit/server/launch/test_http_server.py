"""HTTP/1.0, as nginx and ab speak it, over a raw socket."""

import asyncio
import json

import pytest
from support.serving import Running, running, scripted

TEXT = "It is four."


async def exchange(
    server: Running, version: str, method: str = "POST", path: str = "/v1/chat/completions", **body: object
) -> str:
    """Send a request and return everything that comes until the connection is closed."""
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = json.dumps({"model": "tested", "messages": [{"role": "user", "content": "?"}], "mode": "short"} | body).encode()
    head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    head += "Content-Type: application/json\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + content)
    answer = await reader.read()
    writer.close()
    return answer.decode()


@pytest.mark.parametrize("path", ["/v1/chat/completions"])
async def test_a_stream_over_http_1_0_has_no_chunks(path: str) -> None:
    async with running(scripted(TEXT)) as server:
        head, _, body = (await exchange(server, "1.0", path=path, stream=True)).partition("\r\n\r\n")
        assert " 200 " in head
        assert "transfer-encoding" not in head.lower()
        assert "content-length" not in head.lower()
        assert "connection: close" in head.lower()
        events = [event.removeprefix("data: ") for event in body.strip().split("\n\n")]
        assert events[-1] == "[DONE]"
        deltas = [choice["delta"] for event in events[:-1] for choice in json.loads(event)["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == TEXT
        await server.idle()


async def test_a_stream_over_http_1_1_has_chunks() -> None:
    async with running(scripted(TEXT)) as server:
        head, _, _ = (await exchange(server, "1.1", stream=True)).partition("\r\n\r\n")
        assert "transfer-encoding: chunked" in head.lower()


async def test_a_whole_answer_over_http_1_0_has_its_length() -> None:
    async with running(scripted(TEXT)) as server:
        head, _, body = (await exchange(server, "1.0")).partition("\r\n\r\n")
        assert f"content-length: {len(body)}" in head.lower()
        assert json.loads(body)["choices"][0]["message"]["content"] == TEXT
        head, _, body = (await exchange(server, "1.0", "HEAD", "/v1/models")).partition("\r\n\r\n")
        assert (" 200 " in head, body) == (True, "")
