"""The page's files over HTTP: what is served, to whom, and what the browser is told about it."""

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.serving import running, scripted

from autotool_server.page import FOLDER, HEADERS

OWN = sorted(path for path in FOLDER.glob("*") if path.is_file())
LIBRARIES = FOLDER / "vendor"
LINES: list[str] = re.findall(r"^[0-9a-f]{64}  .+$", (LIBRARIES / "README.md").read_text(), re.MULTILINE)
SUMS = {name: digest for digest, name in map(str.split, LINES)}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


@asynccontextmanager
async def visitor(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with these settings."""
    async with (
        running(scripted("x"), **settings) as server,
        httpx.AsyncClient(base_url=server.url.removesuffix("/v1")) as client,
    ):
        yield client


async def test_the_page_and_every_file_have_their_type_and_the_headers() -> None:
    async with visitor() as client:
        paths = [path for path in FOLDER.rglob("*") if path.suffix in TYPES]
        answers = {"/": await client.get("/")}
        answers |= {path.name: await client.get(f"/page/{path.relative_to(FOLDER)}") for path in paths}
    assert answers["/"].content == (FOLDER / "index.html").read_bytes()
    for name, answer in answers.items():
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].partition(";")[0] == TYPES[Path(name).suffix or ".html"]
        assert {key: answer.headers.get(key) for key in HEADERS} == HEADERS


async def test_the_policy_allows_nothing_but_the_servers_own_files_and_routes() -> None:
    async with visitor() as client:
        policy = (await client.get("/")).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert {rules[name] for name in ("frame-ancestors", "base-uri", "form-action", "trusted-types")} == {"'none'"}
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_head_is_answered_and_a_file_that_has_not_changed_is_not_sent_again() -> None:
    async with visitor() as client:
        for path in ("/", "/page/app.js"):
            get, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", get.headers["etag"])
            same = await client.get(path, headers={"if-none-match": get.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
            assert same.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/", "/page/%2e%2e/__init__.py", "/page/../__init__.py", "/page/vendor"]
)
async def test_there_are_no_other_files(path: str) -> None:
    async with visitor() as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


async def test_other_routes_and_methods_are_as_without_the_page() -> None:
    async with visitor() as client, visitor(page=False) as without:
        for method, path in (("GET", "/nothing"), ("GET", "/v1/nothing"), ("DELETE", "/v1/models"), ("GET", "/pages")):
            answers = [await one.request(method, path) for one in (client, without)]
            assert answers[0].status_code == answers[1].status_code in {404, 405}
            assert answers[0].json() == answers[1].json()
        assert (await client.post("/", json={})).status_code == 405
        assert (await client.post("/page/app.js", json={})).status_code == 405


async def test_a_server_without_the_page_has_neither_it_nor_its_files() -> None:
    async with visitor(page=False) as client:
        assert [(await client.get(path)).status_code for path in ("/", "/page/app.js")] == [404, 404]
        assert (await client.get("/v1/models")).status_code == 200


async def test_the_page_needs_no_key_and_what_it_calls_does() -> None:
    async with visitor(api_key="k") as client:
        assert [(await client.get(path)).status_code for path in ("/", "/page/app.js", "/metrics")] == [200] * 3
        assert [(await client.get(path)).status_code for path in ("/v1/models", "/v1/tools")] == [401, 401]


async def test_a_foreign_name_gets_no_page() -> None:
    async with visitor() as client:
        answers = [await client.get(path, headers={"host": "evil.example"}) for path in ("/", "/page/app.js")]
        assert {answer.status_code for answer in answers} == {403}


async def test_the_page_is_not_in_the_openapi_document() -> None:
    async with visitor() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/page")]


def test_libraries_are_the_released_files_and_have_their_licences() -> None:
    found = {str(path.relative_to(LIBRARIES)) for path in LIBRARIES.rglob("*") if path.is_file()}
    folders = {name.partition("/")[0] for name in SUMS}
    assert found == {"README.md", *SUMS, *(f"{folder}/LICENSE" for folder in folders)}
    assert {name: hashlib.sha256((LIBRARIES / name).read_bytes()).hexdigest() for name in SUMS} == SUMS


def test_modules_import_files_that_are_there() -> None:
    for path in OWN:
        names = re.findall(r'(?:from|import) "(.+?)"', path.read_text()) if path.suffix == ".js" else []
        assert [name for name in names if not (FOLDER / name).is_file()] == [], path.name


def test_the_document_has_no_script_or_style_of_its_own_and_links_nothing_else() -> None:
    text = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""]
    assert not re.search(r"<style|style=|\son\w+=|javascript:", text)
    links = re.findall(r'(?:src|href)="(.+?)"', text)
    assert [link for link in links if not (FOLDER / link.removeprefix("page/")).is_file()] == []


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_file_has_a_way_to_make_markup_of_text_or_an_address_elsewhere(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|dangerously|document\.write|localStorage|\beval\b", text)
    assert [link for link in re.findall(r"https?://[\w./-]+", text) if link != "http://www.w3.org/2000/svg"] == []
