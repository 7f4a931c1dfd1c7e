"""What a user of the page sets, in a real browser."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from playwright.async_api import Browser, expect
from support.browser import CHROMIUM, chromium_beside_servers
from support.page import ANSWER, MODES, engine_of, visiting
from support.serving import running
from support.tools import Fixed, Scripted, add

from autotool_server.tools.registry import Registry

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium_beside_servers() as browser:
        yield browser


async def test_the_page_begins_with_a_question_that_can_be_asked(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        await expect(visit.page.locator("#question")).to_have_value("What is the weather in Paris?")
        await visit.page.get_by_role("button", name="Ask").click()
        for mode in MODES:
            await expect(visit.column(mode).locator(".answer")).to_have_text(ANSWER)


@pytest.mark.parametrize(("name", "disabled"), [("calculator", None), ("calculator", "It has changed."), ("add", None)])
async def test_an_example_of_server_tools_is_offered_where_they_run(browser: Browser, name: str, disabled: str | None) -> None:
    tool = Scripted(name, add)
    tool.spec = replace(tool.spec, disabled=disabled)
    is_usable = name == "calculator" and disabled is None
    async with (
        Registry([Fixed([tool])]) as registry,
        running(engine_of(), registry=registry) as server,
        visiting(browser, server.url) as visit,
    ):
        example = visit.page.get_by_role("button", name="server tools")
        await expect(visit.page.locator(".link.up")).to_be_visible()
        await expect(example).to_have_count(int(is_usable))
        if is_usable:
            await example.click()
            await expect(visit.page.get_by_label("calculator")).to_be_checked()
            await expect(visit.page.locator("#question")).to_have_value("What is 17 * 23, and what is 144 / 12?")
