"""Reports in a real browser, with the network cut off."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from support.bench_runs import official_of, synthetic_rows, write_run

from autotool_bench.report import write_dial, write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
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
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container does not give.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


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
    ink, paper = (luminance(colour) for colour in label.evaluate(COLOURS))
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7
    page.close()


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_page_fits_a_phone(browser: Browser, folder: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, offline=True)
    Visit(page, folder / "report.html")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()
