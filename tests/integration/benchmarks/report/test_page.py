"""Reports in a real browser, with the network cut off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page
from rich.console import Console
from support.bench_runs import graded_run, official_of, synthetic_rows, write_run
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
    dial = synthetic_rows(80, modes=("auto@-4", "auto@0", "auto@4", "short", "long"))
    write_dial(write_run(base / "dial", dial), quiet)
    write_report([graded_run(base / "graded")], None, quiet)
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
@pytest.mark.parametrize("width", [390, 1440])
def test_plots_are_drawn_without_an_error_or_a_request(
    browser: Browser, folder: Path, name: str, plots: int, width: int
) -> None:
    page = browser.new_page(offline=True, viewport={"width": width, "height": 900})
    visit = Visit(page, folder / name)
    drawn = [svg.evaluate(DRAWN) for svg in page.query_selector_all("svg") if svg.is_visible()]
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
    label = next(text for text in page.query_selector_all("svg text") if text.is_visible())
    assert contrast(*label.evaluate(COLOURS)) > 7
    page.close()


CUT = """() => [...document.querySelectorAll('main *')].filter(node => node.getClientRects().length
    && node.tagName !== 'THEAD' && !node.closest('thead')
    && node.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map(node => node.outerHTML.slice(0, 200))"""
SMALL = """() => [...document.querySelectorAll('svg text')].filter(node => node.getClientRects().length)
    .map(node => [node.getScreenCTM(), parseFloat(getComputedStyle(node).fontSize)])
    .map(([scale, size]) => size * Math.hypot(scale.a, scale.b))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report.html", "dial/dial.html", "graded/report.html"])
@pytest.mark.parametrize("width", [360, 390, 1440])
def test_nothing_is_cut_and_plots_are_legible(
    browser: Browser, folder: Path, width: int, name: str, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844}, offline=True, color_scheme=scheme)
    Visit(page, folder / name)
    for details in page.query_selector_all("details"):
        details.evaluate("node => { node.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT) == []
    assert min(page.evaluate(SMALL)) >= 11  # CSS pixels
    page.close()


def test_items_are_found_by_text_verdict_and_category(browser: Browser, folder: Path) -> None:
    page = browser.new_page(offline=True)
    visit = Visit(page, folder / "graded" / "report.html")
    rows = [json.loads(line) for line in (folder / "graded" / "rows.jsonl").read_text().splitlines()]
    assert page.locator(".item:visible").count() == 24

    page.select_option("[name=category]", "level-2")
    assert page.locator(".item:visible").count() == 4
    page.select_option("[name=category]", "")

    solved = {
        mode: {row["id"] for row in rows if row["mode"] == mode and row["score"] == 1} for mode in ("auto", "long", "short")
    }
    page.select_option("[name=verdict]", "wrong 0")
    assert page.locator(".item:visible").count() == 24 - len(solved["auto"])
    page.select_option("[name=verdict]", "differ")
    every, some = set.intersection(*solved.values()), set.union(*solved.values())
    assert page.locator(".item:visible").count() == len(some - every) > 0
    assert page.locator("output").text_content() == f"{len(some - every)} of 24 shown"
    page.select_option("[name=verdict]", "")

    page.fill("[name=search]", rows[0]["id"].upper() + " question")
    assert [item.get_attribute("data-category") for item in page.locator(".item:visible").all()] == [rows[0]["category"]]
    assert visit.messages == []
    page.close()
