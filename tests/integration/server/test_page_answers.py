"""What the page says of answers, in a real browser: which can be compared, and how they came about."""

import math
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect
from support.browser import CHROMIUM, chromium_beside_servers
from support.page import Visit, engine_of, visiting
from support.serving import running

from autotool_core.profile import BUILTIN

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH")


GREEDY = {"temperature": 0.0}


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


async def edge(visit: Visit) -> float:
    """Return the p_long at which the needle's arc turns from short to long."""
    d = await visit.page.locator(".arc-long").get_attribute("d") or ""
    x, y = [float(number) for number in d.split()[1:3]]
    return 1 - math.atan2(92 - y, x - 100) / math.pi


async def test_the_needles_edge_is_that_of_the_bias_of_the_decision(browser: Browser) -> None:
    profile = BUILTIN["smollm2-autotool"].model_copy(update={"decision_bias": -3.0})
    async with (
        running(engine_of(), profile, override_generation_config=GREEDY) as server,
        visiting(browser, server.url) as visit,
    ):
        await visit.ask()
        await visit.is_done()
        caption = visit.column("auto").locator("figcaption")
        await expect(visit.column("auto").locator(".chip")).to_have_text("short")
        await expect(caption).to_have_text("p_long 0.88long above 0.95")
        assert await edge(visit) == pytest.approx(0.9526, abs=0.001)
        await visit.page.locator("#bias").fill("2")
        await expect(caption).to_contain_text("with the slider as it is now, the edge would be 0.73")
        await expect(visit.page.locator(".dial")).to_contain_text("becomes 0.73")
        assert await edge(visit) == pytest.approx(0.9526, abs=0.001)
        await visit.page.get_by_role("button", name="Retry auto").click()
        await expect(visit.column("auto").locator(".chip")).to_have_text("long")
        await expect(caption).to_have_text("p_long 0.88long above 0.73")


async def test_a_decision_that_temperature_makes_random_is_called_so(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        await visit.page.locator("#bias").fill("-2")
        await visit.ask()
        await expect(visit.column("auto").locator("figcaption")).to_contain_text("drawn at random, 50 % for long")
