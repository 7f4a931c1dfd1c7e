"""Reports in a real browser, with the network cut off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page
from rich.console import Console
from support.bench_runs import official_of, synthetic_rows, write_run
from support.browser import CHROMIUM, chromium, contrast

from autotool_bench.report import write_dial, write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH")

DRAWN = """svg => {
    const shapes = [...svg.querySelectorAll('path')].filter(path => path.getBBox().width + path.getBBox().height > 0)
    const box = svg.getBoundingClientRect()
    return {shapes: shapes.length, width: box.width, height: box.height}
}"""
COLOURS = "node => [getComputedStyle(node).fill, getComputedStyle(document.body).backgroundColor]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("runs")
    quiet = Console(file=(base / "shown").open("w"))
    ours = write_run(
        base / "ours", synthetic_rows(160), suite="bfcl", parameters=135e6, label='<img src="http://example.invalid/x">'
    )
    (ours / "official.json").write_text(json.dumps(official_of(ours, ["auto", "long", "short"])))
    stock = write_run(base / "stock", synthetic_rows(160, modes=("long", "short"), seed=1), suite="bfcl")
    write_report([ours, stock], base, quiet)
    write_dial(write_run(base / "dial", synthetic_rows(80, modes=("auto@-4", "auto@0", "auto@4"))), quiet)
    return base


class Visit:
    """A page opened from its file, with its requests and console messages."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page, self.requests, self.messages = page, list[str](), list[str]()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.route("**/*", lambda route: route.continue_() if route.request.url == path.as_uri() else route.abort())
        page.goto(path.as_uri())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize(("name", "plots"), [("report.html", 5), ("dial/dial.html", 1)])
def test_plots_are_drawn_without_an_error_or_a_request(browser: Browser, folder: Path, name: str, plots: int) -> None:
    page = browser.new_page(offline=True)
    visit = Visit(page, folder / name)
    drawn = [svg.evaluate(DRAWN) for svg in page.query_selector_all("svg")]
    assert len(drawn) == plots
    for svg in drawn:
        assert svg["shapes"] > 5
        assert svg["width"] > 300
        assert svg["height"] > 100
    assert visit.messages == []
    assert visit.requests == [(folder / name).as_uri()]
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_in_plots_stands_out_in_either_scheme(browser: Browser, folder: Path, scheme: Literal["light", "dark"]) -> None:
    page = browser.new_page(color_scheme=scheme, offline=True)
    Visit(page, folder / "report.html")
    label = page.query_selector("svg text")
    assert label is not None
    assert contrast(*label.evaluate(COLOURS)) > 7
    page.close()


def test_the_page_fits_a_phone(browser: Browser, folder: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, offline=True)
    Visit(page, folder / "report.html")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()
