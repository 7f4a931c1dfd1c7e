"""How the page looks: contrasts, the sizes of fields, its theme and its words, in a real browser."""

from typing import Literal

import pytest
from playwright.async_api import Browser, Locator, expect
from support.browser import contrast
from support.page import engine_of, visiting
from support.serving import running

COLOURS = """(node, name) => {
    const paper = (node) => {
        const { backgroundColor } = getComputedStyle(node)
        return backgroundColor === "rgba(0, 0, 0, 0)" ? paper(node.parentElement) : backgroundColor
    }
    return [getComputedStyle(node)[name], paper(node.parentElement)]
}"""


async def contrasts(nodes: Locator, name: str) -> list[float]:
    """Return the contrast of a colour of each node with what is around it."""
    return [contrast(*await node.evaluate(COLOURS, name)) for node in await nodes.all()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_borders_of_fields_and_buttons_can_be_seen(browser: Browser, scheme: Literal["light", "dark"]) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url, color_scheme=scheme) as visit:
        await visit.ask()
        await visit.is_done()
        await visit.page.get_by_text("Your functions").click()
        fields = visit.page.locator("textarea, select, .prices input, button.small")
        assert await fields.count() >= 10
        assert min(await contrasts(fields, "borderTopColor")) >= 3
        assert min(await contrasts(visit.page.locator("i.waits"), "backgroundColor")) >= 3
        assert min(await contrasts(visit.page.locator(".meter"), "backgroundColor")) >= 1.25


async def test_a_phone_does_not_zoom_into_a_field(browser: Browser) -> None:
    async with (
        running(engine_of()) as server,
        visiting(browser, server.url, viewport={"width": 390, "height": 800}) as visit,
    ):
        fields = visit.page.locator("textarea, select, .prices input")
        assert await fields.evaluate_all("nodes => nodes.map(node => getComputedStyle(node).fontSize)") == ["16px"] * 6


async def test_the_theme_stays_over_a_reload(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url, color_scheme="light") as visit:
        paper = "getComputedStyle(document.body).backgroundColor"
        light = await visit.page.evaluate(paper)
        for name in ("Theme: system", "Theme: light"):
            await visit.page.get_by_role("button", name=name).click()
        dark = await visit.page.evaluate(paper)
        assert dark != light
        await visit.page.reload()
        await expect(visit.page.get_by_role("button", name="Theme: dark")).to_be_visible()
        assert await visit.page.evaluate(paper) == dark


async def test_the_page_says_where_questions_go_and_what_is_not_run(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        await expect(visit.page.locator("footer")).to_contain_text("Your questions go to this server only.")
        await expect(visit.page.get_by_text("Your functions (not run here)")).to_be_visible()
        await expect(visit.page.get_by_label("answer limit")).to_have_value("512")
        title = await visit.page.get_by_role("link", name="API").get_attribute("title")
        assert title is not None
        assert "from the internet" in title
        await expect(visit.column("long").locator("svg")).to_have_count(0)
        await expect(visit.column("auto").locator("svg")).to_have_count(1)
