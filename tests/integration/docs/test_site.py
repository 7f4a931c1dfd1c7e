"""The documentation site: built strictly, its links followed, and opened in a real browser on a phone's width."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import Browser
from support.browser import CHROMIUM, chromium, contrast

ROOT = Path(__file__).parents[3]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH")

WIDTH = 390
"""The width of a phone, in CSS pixels."""
COLOURS = """selector => {
    const node = document.querySelector(selector)
    let behind = node
    while (/, 0\\)$|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement
    return [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor]
}"""


class Links(HTMLParser):
    """The ids and the references of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids, self.references = {""}, set[str]()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value or "")
            elif name in {"href", "src"} and value:
                self.references.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> list[str]:
    # 404.html links from the root of a server.
    return sorted(str(page.relative_to(site)) for page in site.rglob("*.html") if page.name != "404.html")


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name in the standard library
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def broken(site: Path, name: str, ids: dict[Path, set[str]]) -> Iterator[str]:
    """Yield the references of a page that lead nowhere."""
    for reference in Links(site / name).references:
        path, fragment = urldefrag(reference)
        if "://" in path or path.startswith(("mailto:", "data:")):
            continue
        target = (site / name).parent.joinpath(unquote(path)).resolve() if path else site / name
        if not target.exists() or (target.suffix == ".html" and unquote(fragment) not in ids[target]):
            yield reference


def test_no_link_is_broken(site: Path, pages: list[str]) -> None:
    ids = {(site / name).resolve(): Links(site / name).ids for name in pages}
    assert {name: found for name in pages if (found := sorted(broken(site, name, ids)))} == {}
    assert len(pages) > 15


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<h1 id="top"></h1><a href="#top"></a><a href="#no"></a><a href="page.html"></a><a href="no.html"></a>')
    assert sorted(broken(tmp_path, "page.html", {page: Links(page).ids})) == ["#no", "no.html"]


@needs_browser
def test_pages_fit_a_phone_and_fetch_nothing_from_elsewhere(browser: Browser, address: str, pages: list[str]) -> None:
    page = browser.new_page(viewport={"width": WIDTH, "height": 800})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.on("request", lambda request: None if request.url.startswith((address, "data:")) else problems.append(request.url))
    # Of the experiments every fifth: they have no elements that the other pages lack.
    experiments = [name for name in pages if name.startswith("experiments/")]
    for name in [name for name in pages if name not in experiments] + experiments[::5]:
        page.goto(address + name)
        if (width := page.evaluate("document.documentElement.scrollWidth")) > WIDTH:
            problems.append(f"{page.url}: {width} pixels wide")
    assert problems == []
    page.close()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_either_scheme(browser: Browser, address: str, scheme: Literal["light", "dark"]) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{address}guides/tools.html")
    parts = ("p", "p a", "p code", "td", "th", "pre code")
    contrasts = {part: contrast(*page.evaluate(COLOURS, f"article {part}")) for part in parts}
    assert {part: value for part, value in contrasts.items() if value < 4.5} == {}
    page.close()


@needs_browser
def test_the_schemes_differ_and_can_be_switched(browser: Browser, address: str) -> None:
    page = browser.new_page(color_scheme="light")
    page.goto(address)
    shown = "document.body.getAttribute('data-md-color-scheme')"
    assert page.evaluate(shown) == "default"
    page.click("label[title='Switch to dark']")
    assert page.evaluate(shown) == "slate"
    page.close()
