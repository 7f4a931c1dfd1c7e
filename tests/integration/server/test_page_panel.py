"""What the page shows of its server, in a real browser."""

import re

from playwright.async_api import Browser, expect
from support.page import engine_of, visiting
from support.serving import MODEL, Running, held, running

from autotool_core.modes import ResolvedMode
from autotool_server.audit.records import Answer, Record
from autotool_server.engines.base import Capacity


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


def audit(server: Running, number_of: int) -> None:
    """Add audited requests to those of a server: half of them answered in long, where short answers are half as long."""
    records = server.state.auditor.records
    for number in range(number_of):
        resolved, other = (ResolvedMode.LONG, 50) if number % 2 else (ResolvedMode.SHORT, 100)
        record = Record(None, resolved, Answer(150 - other, has_form=True))
        records.add(str(number), record)
        records.audited(record, Answer(other, has_form=number % 10 != 9))


async def test_savings_are_sentences_about_enough_audited_requests(browser: Browser) -> None:
    async with running(engine_of(), audit=1) as server:
        await server.client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "?"}])
        await server.state.auditor.settled()
        async with visiting(browser, server.url) as visit:
            card = visit.page.locator(".cards > .card").first
            await expect(card.locator("p")).to_have_text("Audited requests: too few yet (1 of 100) to say what auto saves.")
        audit(server, 100)
        async with visiting(browser, server.url) as visit:
            card = visit.page.locator(".cards > .card").first
            said = card.locator("p")
            await expect(said.first).to_contain_text(
                re.compile(r"^auto takes 2\d\.\d % fewer tokens than thinking always \(± \d")
            )
            await expect(said.first).to_contain_text("and solves as many of 100 requests")
            await expect(said.nth(1)).to_contain_text(re.compile(r"^It takes \d\d\.\d % more tokens than never thinking"))
            await expect(said.nth(1)).to_contain_text(re.compile(r"and solves \d+\.\d more of 100 requests"))
            width = "card => card.getBoundingClientRect().width / card.parentElement.getBoundingClientRect().width"
            assert await card.evaluate(width) > 0.99
