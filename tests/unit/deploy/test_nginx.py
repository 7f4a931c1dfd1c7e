"""The proxy's configuration: its limits are the server's, and a real nginx passes on what it should."""

import asyncio
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.examples import blocks
from support.serving import MODEL, Running, held, running, scripted

from autotool_server.conversation.fair_semaphore import CURRENT_CLIENT
from autotool_server.engines.base import EngineRequest
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.settings import Settings

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy/nginx/autotool.conf"
TEXT = FILE.read_text()
GUIDE = ROOT / "docs/guides/deploy.md"
NAME = "models.example.com"
CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "mode": "short"}
# Not every user's PATH has the folder of a system's programs.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL = shutil.which("openssl")
NEEDED = pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="nginx or openssl is not installed")
AROUND = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{}}
http {{
    access_log off;
    {paths}
    include {folder}/autotool.conf;
}}
"""


def value(directive: str) -> str:
    (found,) = re.findall(rf"^\s*{directive} (\S+);$", TEXT, re.MULTILINE)
    return found


def number(directive: str) -> int:
    """Return a size in bytes, or a time in seconds. `m` is 1,048,576 bytes, or a minute."""
    text = value(directive)
    units = {"s": 1, "m": 60} if directive.endswith("timeout") else {"m": 2**20}
    return int(text[:-1]) * units[text[-1]]


def test_sizes_and_times_fit_the_servers() -> None:
    settings = Settings()
    assert number("client_max_body_size") == number("client_body_buffer_size") == settings.max_body_bytes
    assert number("keepalive_timeout") < settings.keep_alive_seconds
    longest = settings.max_queue_seconds + settings.max_tool_seconds + settings.engine_hang_seconds
    assert number("proxy_read_timeout") > longest


@pytest.mark.parametrize("setting", ["keep_alive_seconds", "max_queue_seconds", "max_tool_seconds", "engine_hang_seconds"])
def test_the_comments_have_the_servers_times(setting: str) -> None:
    seconds = getattr(Settings(), setting)
    assert f"(--{setting.replace('_', '-')}, {seconds:g})" in TEXT


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def configure(folder: Path, before: str, server: str, requests: int | None = None, more: str = "") -> tuple[Path, int]:
    """Write the file with a port, a certificate and a server of this test. Return the whole configuration, and the port.

    `requests`: those that an address may have at once; as in the file if there is none. `more`: further parts of its server.
    """
    port = free_port()
    make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
        "-subj",
        f"/CN={NAME}",
    ]
    files = ["-out", str(folder / "cert.pem"), "-keyout", str(folder / "cert.key")]
    subprocess.run([str(OPENSSL), *make, *files], check=True, capture_output=True)
    text = TEXT
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        f"/etc/nginx/tls/{NAME}.pem": str(folder / "cert.pem"),
        f"/etc/nginx/tls/{NAME}.key": str(folder / "cert.key"),
        "server 127.0.0.1:8000;": f"{before} server {server};",
        "limit_conn autotool_addresses 128;": f"limit_conn autotool_addresses {requests or 128};",
        "    location / {\n": f"{more}    location / {{\n",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "autotool.conf").write_text(text)
    paths = "".join(f"{of}_temp_path {folder}/{of};" for of in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, paths=paths))
    return folder / "nginx.conf", port


@NEEDED
def test_nginx_finds_no_fault_in_the_file(tmp_path: Path) -> None:
    config, _ = configure(tmp_path, "server 127.0.0.1:8001;", "127.0.0.1:8000")
    done = subprocess.run([str(NGINX), "-t", "-p", tmp_path, "-c", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def address(server: Running) -> str:
    return server.url.removeprefix("http://").removesuffix("/v1")


@asynccontextmanager
async def proxied(
    folder: Path, engine: ScriptedEngine, before: str = "", requests: int | None = None, more: str = "", **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Running]]:
    """Serve behind nginx. Yields a client that comes from an address of its own and asks by the public name.

    `before`: another line of `upstream`, before that of the server. `requests`: those that an address may have at once. `more`:
    further parts of nginx's server.
    """
    async with running(engine, **settings) as server:
        config, port = configure(folder, before, address(server), requests, more)
        nginx = await asyncio.create_subprocess_exec(str(NGINX), "-p", str(folder), "-c", str(config))
        transport = httpx.AsyncHTTPTransport(verify=_tls(folder), local_address="127.0.0.9", retries=9)
        url = f"https://127.0.0.1:{port}"
        try:
            async with httpx.AsyncClient(base_url=url, transport=transport, headers={"host": NAME}, timeout=60) as client:
                await client.get("/")
                yield client, server
        finally:
            nginx.terminate()
            await nginx.wait()


def _tls(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    context.check_hostname = False  # it is asked by its address
    return context


@NEEDED
async def test_a_stream_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    release = held(engine := scripted("one two three four"), after=3)
    async with (
        proxied(tmp_path, engine, allowed_hosts=(NAME,)) as (client, _),
        client.stream("POST", CHAT, json={**ASKED, "stream": True}) as answer,
    ):
        lines = answer.aiter_lines()
        async with asyncio.timeout(30):
            await anext(line async for line in lines if '"content": "e"' in line)
        release.set()
        assert [line async for line in lines if line][-1] == "data: [DONE]"


@NEEDED
async def test_clients_have_their_own_addresses_and_cannot_choose_them(tmp_path: Path) -> None:
    shares: list[str | None] = []

    def script(_: EngineRequest) -> str:
        shares.append(CURRENT_CLIENT.get())
        return "x"

    async with proxied(tmp_path, scripted(script), allowed_hosts=(NAME,)) as (client, _):
        answer = await client.post(CHAT, json=ASKED, headers={"x-forwarded-for": "192.0.2.1"})
        assert answer.status_code == 200, answer.text
    assert shares == ["127.0.0.9"]


PUBLIC = ["/v1/models", "/v1/tools"]
INSIDE = [
    *("/metrics", "/health/ready", "/openapi.json", "/v1/tools/calculator/accept"),
    # The same routes in forms that one of both might read in another way.
    *("/v1//tools/calculator/accept", "/v1/%74ools%2Fcalculator/accept", "/v1/models/../tools/calculator/accept"),
    *("/v1/../metrics", "/%6Detrics"),
]


@NEEDED
async def test_only_the_clients_routes_are_public(tmp_path: Path) -> None:
    async with proxied(tmp_path, scripted("x"), allowed_hosts=(NAME,)) as (client, _):
        for method, path in [*(("GET", path) for path in PUBLIC), *((way, path) for way in ("GET", "POST") for path in INSIDE)]:
            answer = await client.request(method, client.base_url.copy_with(raw_path=path.encode()))
            is_public = path in PUBLIC
            assert answer.status_code == (200 if is_public else 404), path
            assert ("x-request-id" in answer.headers) == is_public, "a 404 is nginx's own"


PAGE = ["/", "/page/app.js", "/metrics", "/version"]
STILL_INSIDE = ["/health/ready", "/openapi.json", "/v1/tools/calculator/accept", "/page/../v1/tools/calculator/accept"]


@NEEDED
@pytest.mark.parametrize(("allowed", "status"), [("192.0.2.0/24", 403), ("127.0.0.9/32", 200)])
async def test_the_guides_lines_show_the_page_to_their_addresses_alone(tmp_path: Path, allowed: str, status: int) -> None:
    (lines,) = (block.text for block in blocks(GUIDE) if block.language == "nginx")
    lines = lines.replace("192.0.2.0/24", allowed)
    async with proxied(tmp_path, scripted("x"), more=lines, allowed_hosts=(NAME,)) as (client, _):
        for path in [*PAGE, *STILL_INSIDE]:
            answer = await client.get(client.base_url.copy_with(raw_path=path.encode()))
            assert answer.status_code == (status if path in PAGE else 404), path


@NEEDED
async def test_a_body_may_be_as_long_as_the_server_lets_it(tmp_path: Path) -> None:
    limit = Settings().max_body_bytes
    async with proxied(tmp_path, scripted("x"), allowed_hosts=(NAME,)) as (client, _):
        for more, is_passed_on in ((0, True), (1, False)):
            text = '{"messages": "'.ljust(limit - 2 + more, "x") + '"}'
            answer = await client.post(CHAT, content=text, headers={"content-type": "application/json"})
            assert ("x-request-id" in answer.headers) == is_passed_on
            assert answer.status_code == (400 if is_passed_on else 413)
    assert "temporary file" not in (tmp_path / "error.log").read_text(), "no prompt is written to a file"


@NEEDED
async def test_a_server_without_a_key_must_know_the_public_name(tmp_path: Path) -> None:
    async with proxied(tmp_path, scripted("x")) as (client, _):
        answer = await client.post(CHAT, json=ASKED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")


BEARERS = [{"authorization": f"Bearer {number}"} for number in range(20)]
"""Headers with keys, so many that each of two servers has some of them."""


@NEEDED
async def test_a_key_stays_at_its_server(tmp_path: Path) -> None:
    texts = {"one": scripted("one"), "two": scripted("two")}
    async with (
        running(texts["one"], allowed_hosts=(NAME,)) as first,
        proxied(tmp_path, texts["two"], f"server {address(first)};", allowed_hosts=(NAME,)) as (client, _),
    ):

        async def text(headers: dict[str, str]) -> str:
            answer = await client.post(CHAT, json=ASKED, headers=headers)
            return answer.json()["choices"][0]["message"]["content"]

        found = [{await text(headers) for _ in range(2)} for headers in BEARERS]
    assert all(len(of_key) == 1 for of_key in found)
    assert set.union(*found) == texts.keys()


@NEEDED
async def test_an_address_may_not_have_more_requests_at_once(tmp_path: Path) -> None:
    release = held(engine := scripted("one two"))
    async with proxied(tmp_path, engine, requests=1, allowed_hosts=(NAME,)) as (client, _):
        async with client.stream("POST", CHAT, json={**ASKED, "stream": True}) as answer:
            assert answer.status_code == 200
            assert (await client.get("/v1/models")).status_code == 429
            release.set()
            await answer.aread()
        assert (await client.get("/v1/models")).status_code == 200


def test_the_guide_takes_a_server_out_and_puts_it_back(tmp_path: Path) -> None:
    guide = GUIDE.read_text()
    file = tmp_path / "autotool.conf"
    file.write_text(fronts := TEXT.replace("server 127.0.0.1:8000;", "server front-1:8000;\n    server front-2:8000;"))
    out, back = (shlex.split(line) for line in re.findall(r"^ *sudo (sed .*)$", guide, re.MULTILINE))
    subprocess.run([*out[:-1], file], check=True)
    assert file.read_text() == fronts.replace("server front-1:8000;", "server front-1:8000 down;") != fronts
    subprocess.run([*back[:-1], file], check=True)
    assert file.read_text() == fronts


@NEEDED
async def test_the_next_server_is_asked_while_one_is_started_again(tmp_path: Path) -> None:
    closed = f"server 127.0.0.1:{free_port()};"
    async with proxied(tmp_path, scripted("x"), closed, allowed_hosts=(NAME,)) as (client, _):
        statuses = [(await client.post(CHAT, json=ASKED, headers=bearer)).status_code for bearer in BEARERS]
    assert statuses == [200] * len(BEARERS)
    assert "Connection refused" in (tmp_path / "error.log").read_text()
