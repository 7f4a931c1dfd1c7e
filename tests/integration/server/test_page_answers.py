"""What the page says of answers, in a real browser: which can be compared, and how they came about."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from support.browser import CHROMIUM, chromium_beside_servers
from support.page import ANSWER, engine_of, visiting
from support.serving import running

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium_beside_servers() as browser:
        yield browser


async def test_answers_to_different_questions_are_not_compared(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        earlier = visit.page.locator(".earlier")
        await visit.ask("What is 2 + 2?")
        await visit.is_done()
        await expect(visit.page.locator(".verdict")).to_be_visible()
        await visit.page.fill("#question", "What is 3 + 3?")
        await expect(earlier).to_have_count(0)
        await visit.page.get_by_role("button", name="Retry long").click()
        await expect(visit.column("short").locator(".earlier")).to_have_text("Answers an earlier question: What is 2 + 2?")
        await visit.is_done()
        await expect(visit.column("auto").locator(".earlier")).to_be_visible()
        await expect(visit.column("long").locator(".earlier")).to_have_count(0)
        await expect(visit.page.locator(".verdict")).to_have_count(0)
        for mode in ("auto", "short"):
            await visit.page.get_by_role("button", name=f"Retry {mode}").click()
        await visit.is_done()
        await expect(visit.page.locator(".verdict")).to_be_visible()
        await expect(earlier).to_have_count(0)
        await visit.page.fill("#functions", '[{"type": "function", "function": {"name": "add"}}]')
        await visit.page.get_by_role("button", name="Retry long").click()
        await visit.is_done()
        await expect(visit.column("auto").locator(".earlier")).to_contain_text("with other tools")
        await expect(visit.page.locator(".verdict")).to_have_count(0)
