"""Encoded bodies: read within the limit, whatever they decode to."""

import gzip
import json
import zlib
from collections.abc import Callable
from functools import partial

import httpx
import pytest
from support.serving import Running, running, scripted

from autotool_core.errors import InvalidRequestError
from autotool_server.api.content_encoding import MAX_MEMBERS, content_decoder

BODY = json.dumps(
    {"model": "tested", "messages": [{"role": "user", "content": "What is 2 + 2?" * 100}], "mode": "short"}
).encode()
# Without a time in it, so that the names of the tests are the same in each worker.
gzipped = partial(gzip.compress, mtime=0)
LIMIT = 64 * 1024


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


async def post(server: Running, encoding: str, body: bytes, part_size: int = 2**20) -> httpx.Response:
    async def parts():
        for at in range(0, len(body), part_size):
            yield body[at : at + part_size]

    async with httpx.AsyncClient() as client:
        headers = {"content-encoding": encoding, "content-type": "application/json"}
        return await client.post(f"{server.url}/chat/completions", content=parts(), headers=headers)


@pytest.mark.parametrize("part_size", [1, 2**20])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzipped(BODY)),
        ("X-GZIP", gzipped(BODY)),
        ("gzip", gzipped(BODY[:50]) + gzipped(b"") + gzipped(BODY[50:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("identity", BODY),
    ],
)
async def test_an_encoded_body_is_read(encoding: str, body: bytes, part_size: int) -> None:
    async with running(scripted("Four.")) as server:
        response = await post(server, encoding, body, part_size)
        assert response.json()["choices"][0]["message"]["content"] == "Four."


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
async def test_another_encoding_is_a_415(encoding: str) -> None:
    async with running(scripted("x")) as server:
        response = await post(server, encoding, BODY)
        assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_encoding")
        assert "gzip" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", BODY),
        ("gzip", b""),
        ("gzip", gzipped(BODY)[:-1]),
        ("gzip", gzipped(BODY) + b"more"),
        ("gzip", gzipped(BODY[:50]) + gzipped(BODY[50:])[:-1]),
        ("deflate", zlib.compress(BODY) * 2),
        ("deflate", zlib.compress(BODY)[:-1]),
        ("deflate", b"\xff\xff"),
    ],
)
async def test_a_broken_body_is_a_400(encoding: str, body: bytes) -> None:
    async with running(scripted("x")) as server:
        response = await post(server, encoding, body)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_body")
        await server.idle()


@pytest.mark.parametrize("size", [LIMIT + 1, 50 * 2**20])
async def test_what_decodes_to_more_than_the_limit_is_a_413(size: int) -> None:
    async with running(scripted("x"), max_body_bytes=LIMIT) as server:
        spaces = gzipped(b" " * size)
        for body in (spaces, gzipped(BODY + b" " * size), gzipped(BODY) + spaces):
            assert len(body) < LIMIT
            response = await post(server, "gzip", body)
            assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_no_more_is_decoded_than_is_wanted(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    decoder = content_decoder(encoding)
    assert len(decoder.decode(compress(b" " * 2**20), 100)) == 100


async def test_a_body_of_the_limit_is_read() -> None:
    body = BODY + b" " * (LIMIT - len(BODY))
    async with running(scripted("x"), max_body_bytes=LIMIT) as server:
        assert (await post(server, "gzip", gzipped(body))).status_code == 200
        assert (await post(server, "", body)).status_code == 200
        assert (await post(server, "", body + b" ")).status_code == 413


@pytest.mark.parametrize("part_size", [7, 2**20])
def test_a_body_of_too_many_members_is_refused(part_size: int) -> None:
    """An empty one has 20 bytes and takes the time of many."""
    decoder = content_decoder("gzip")
    body = gzipped(b"") * MAX_MEMBERS
    for at in range(0, len(body), part_size):
        assert decoder.decode(body[at : at + part_size], 100) == b""
    decoder.finish()
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_MEMBERS} members"):
        decoder.decode(gzipped(b""), 100)
