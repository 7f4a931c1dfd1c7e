"""What the page shows of its server, in a real browser."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect
from support.browser import CHROMIUM, chromium_beside_servers
from support.page import engine_of, visiting
from support.serving import held, running

from autotool_server.engines.base import Capacity

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium_beside_servers() as browser:
        yield browser


async def test_waiting_requests_are_not_counted_as_running(browser: Browser) -> None:
    engine = engine_of()
    engine.capacity = Capacity(requests=1)
    async with running(engine) as server, visiting(browser, server.url) as visit:
        release = held(engine)
        await visit.ask()
        load = visit.page.locator(".card", has_text="Load")
        await expect(load).to_contain_text("2 waiting")
        await expect(load).to_contain_text("1 running")
        release.set()
        await visit.is_done()
