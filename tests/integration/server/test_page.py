"""The page in a real browser, over a server whose model writes scripts."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Route, expect
from support.browser import AXE
from support.page import ANSWER, MODES, Visit, calling, engine_of, visiting
from support.relay import Relay
from support.serving import running
from support.tools import Fixed, Scripted

from autotool_server.tools.registry import Registry

MARKUP = '<img src="http://example.invalid/x" onerror="alert(1)">'
BEGUN = re.compile("Two|It is")
"""What a column shows once its answer has begun."""
SLOW = 0.3
"""Seconds a token, so that no answer, of some 50 tokens at least, ends while a busy machine draws the page."""
DIAL = [(-4.0, 0.31, 55.0, 0.0), (0.0, 0.72, 140.0, 0.55), (4.0, 0.85, 171.0, 0.97)]


async def test_three_answers_come_at_the_same_time(browser: Browser) -> None:
    engine = engine_of(seconds=SLOW, log_odds=20.0)  # so that no draw is short
    async with running(engine) as server, visiting(browser, server.url) as visit:
        await visit.ask()
        for mode in MODES:
            await expect(visit.column(mode).locator(".busy")).to_be_visible()
            await expect(visit.column(mode).locator(".text")).to_contain_text(BEGUN)
        await expect(visit.column("auto").locator("figcaption")).to_contain_text("p_long > 0.99")  # before the answer has ended
        assert server.state.admission.in_flight == 3
        engine.gate = None
        await visit.is_done()
        for mode in MODES:
            assert (await visit.column(mode).locator(".answer").inner_text()) == ANSWER
        thoughts = [await visit.column(mode).locator(".reasoning p").count() for mode in MODES]
        assert thoughts == [1, 1, 0]
        await expect(visit.page.locator(".verdict")).to_contain_text("auto answered long")
        record = json.loads(await visit.column("auto").locator(".json").text_content() or "")
        assert (record["mode"], record["turns"][0]["resolved"]) == ("auto", "long")
        shown = await visit.column("auto").locator(".figures dd").first.inner_text()
        turn = record["turns"][0]
        assert int(shown) == turn["decision_tokens"] + turn["reasoning_tokens"] + turn["content_tokens"]


async def test_what_a_model_writes_is_text(browser: Browser) -> None:
    async with running(engine_of(lambda _: MARKUP)) as server, visiting(browser, server.url) as visit:
        await visit.ask()
        await visit.is_done()
        assert await visit.column("short").locator(".answer").inner_text() == MARKUP
        assert await visit.page.locator(".column img").count() == 0


async def test_bias_and_budget_are_sent_and_the_cost_is_of_the_users_prices(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        bodies = list[Any]()
        visit.page.on("request", lambda request: bodies.append(request.post_data_json) if request.method == "POST" else None)
        await visit.page.locator("#bias").fill("-3.5")
        await visit.page.locator("#budget").fill("1")
        await visit.page.get_by_label("a million decoded tokens").fill("1000")
        await visit.ask()
        await visit.is_done()
        asked = {body["mode"]: body for body in bodies}
        assert asked["auto"]["reasoning_bias"] == -3.5
        assert [asked[mode].get("max_reasoning_tokens") for mode in MODES] == [16, 16, None]
        assert not {"reasoning_bias", "target"} & {*asked["long"], *asked["short"]}
        tokens, cost = [await visit.column("short").locator(".figures dd").nth(index).inner_text() for index in (0, 3)]
        assert cost == f"${tokens}.00"

        await visit.page.select_option("#steer", "thinking-rate")
        await visit.page.locator("#thinking-rate").fill("0.4")
        await visit.page.get_by_role("button", name="Retry auto").click()
        await visit.is_done()
        assert (bodies[-1]["target"], bodies[-1].get("reasoning_bias")) == ("thinking-rate=0.4", None)


async def test_the_curve_is_that_of_the_dial(browser: Browser, tmp_path: Path) -> None:
    names = ("accuracy", "generated_tokens", "thinking_rate")
    steps = [{"bias": bias, "figures": dict(zip(names, figures, strict=True))} for bias, *figures in DIAL]
    (tmp_path / "dial.json").write_text(json.dumps({"steps": steps}))
    async with running(engine_of(), dial=str(tmp_path / "dial.json")) as server, visiting(browser, server.url) as visit:
        curve = visit.page.locator(".dial")
        await expect(curve.locator("canvas")).to_have_count(2)
        await expect(curve).to_contain_text("72 % solved, 140 tokens")
        assert [await visit.page.locator("#bias").get_attribute(name) for name in ("min", "max")] == ["-4", "4"]
        await visit.page.locator("#bias").fill("4")
        await expect(curve).to_contain_text("85 % solved, 171 tokens, 97 % of turns think")


async def test_without_a_dial_the_curve_is_that_of_the_last_decision(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        await visit.page.locator("#bias").fill("-2")
        await visit.ask()
        await visit.is_done()
        await expect(visit.page.locator(".dial")).to_contain_text("The last p_long, 0.88, becomes 0.50")


async def test_escape_stops_all_and_what_has_come_stays_until_a_retry(browser: Browser) -> None:
    engine = engine_of(seconds=SLOW)
    async with running(engine) as server, visiting(browser, server.url) as visit:
        await visit.ask()
        for mode in MODES:
            await expect(visit.column(mode).locator(".text")).to_contain_text(BEGUN)
        await visit.page.keyboard.press("Escape")
        for mode in MODES:
            await expect(visit.column(mode).locator(".text")).to_contain_text("Stopped.")
            await expect(visit.column(mode).locator(".text")).to_contain_text(BEGUN)
        await server.idle()
        assert len(engine.aborted) == 3
        engine.gate = None
        await visit.page.get_by_role("button", name="Retry long").click()
        await expect(visit.column("long").locator(".answer")).to_have_text(ANSWER)
        await expect(visit.column("short").locator(".text")).to_contain_text("Stopped.")


async def test_a_server_that_goes_away_is_told_and_answers_again_when_it_is_back(browser: Browser) -> None:
    engine = engine_of(seconds=SLOW)
    async with running(engine) as server:
        relay = Relay(server.url)
        await relay.open()
        page = await browser.new_page()
        visit = Visit(page)
        await page.goto(f"{relay.url}/")
        await visit.ask()
        await expect(visit.column("long").locator(".text")).to_contain_text("Two")
        relay.close()
        await expect(visit.column("long").locator(".problem")).to_contain_text("What had come stays here.")
        await expect(visit.column("long").locator(".text")).to_contain_text("Two")
        await expect(page.locator(".banner.lost")).to_contain_text("The server does not answer.")
        engine.gate = None
        await relay.open()
        await page.get_by_role("button", name="Retry now").click()
        await expect(page.locator(".banner")).to_have_count(0)
        await expect(page.locator(".link.up")).to_be_visible()
        await page.get_by_role("button", name="Retry long").click()
        await expect(visit.column("long").locator(".answer")).to_have_text(ANSWER)
        await page.close()
        relay.close()


async def test_the_key_is_asked_for_and_stays_in_memory(browser: Browser) -> None:
    async with running(engine_of(), api_key="secret-key") as server:
        page = await browser.new_page()
        await page.goto(server.url.removesuffix("/v1") + "/")
        await expect(page.locator(".banner")).to_contain_text("The server asks for a key.")
        for key, said in (("wrong", "This key is not one of the server's."), ("secret-key", "")):
            await page.fill("#key", key)
            await page.keyboard.press("Enter")
            if said:
                await expect(page.locator(".banner")).to_contain_text(said)
        await expect(page.locator(".link.up")).to_be_visible()
        visit = Visit(page)
        await visit.ask()
        await expect(visit.column("short").locator(".answer")).to_have_text(ANSWER)
        kept = await page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])")
        assert "secret" not in kept
        await page.close()


async def test_errors_of_the_server_are_in_its_own_words(browser: Browser) -> None:
    async with running(engine_of()) as server:
        page = await browser.new_page()
        visit = Visit(page)
        await page.goto(server.url.removesuffix("/v1") + "/")
        await page.fill("#question", "?")
        await page.get_by_text("Your functions").click()
        await page.fill("#functions", "[{")
        await expect(page.locator(".ask .problem")).to_have_text("This is not JSON yet.")
        await page.fill("#functions", '[{"type": "function", "function": {"name": ""}}]')
        await page.keyboard.press("Control+Enter")
        await expect(visit.column("auto").locator(".problem")).to_contain_text("tools.0.function.name")
        await page.close()


async def test_a_question_that_cannot_be_asked_yet_is_told_why(browser: Browser) -> None:
    known = asyncio.Event()

    async def hold(route: Route) -> None:
        await known.wait()
        await route.continue_()

    async with running(engine_of()) as server:
        page = await browser.new_page()
        await page.route("**/v1/models", hold)
        await page.goto(server.url.removesuffix("/v1") + "/")
        refusal = page.locator(".refusal")
        await page.fill("#question", "")
        await page.keyboard.press("Control+Enter")
        await expect(refusal).to_have_text("Write a question first.")
        await page.fill("#question", "?")
        await expect(refusal).to_have_count(0)
        await page.keyboard.press("Control+Enter")
        await expect(refusal).to_contain_text("does not know yet what is served")
        await expect(page.locator("p[role=status]")).to_contain_text("does not know yet what is served")
        known.set()
        await expect(refusal).to_have_count(0)
        await page.keyboard.press("Control+Enter")
        await expect(page.locator(".column.short .answer")).to_have_text(ANSWER)
        await page.close()


async def test_the_panel_counts_what_the_server_does(browser: Browser) -> None:
    async with running(engine_of(), target="thinking-rate=0.5") as server, visiting(browser, server.url) as visit:
        await visit.ask()
        await visit.is_done()
        panel = visit.page.locator(".live")
        await expect(panel.locator(".bars b")).to_have_text(["1", "1", "1"])
        await expect(panel).to_contain_text("1 decision, mean 0.88")
        await expect(panel).to_contain_text("server: thinking-rate=0.5")
        assert await visit.page.locator("#steer").input_value() == "server"
        await expect(panel).not_to_contain_text("Savings")
        await expect(panel).not_to_contain_text("bias of the load")


FINDINGS = "async () => (await axe.run()).violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)])"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here: `make test` fetches it")
async def test_nothing_is_cut_and_axe_finds_nothing(browser: Browser, width: int, scheme: Literal["light", "dark"]) -> None:
    tools = [Scripted("first", lambda _: asyncio.sleep(0, "3")), Scripted("second", lambda _: asyncio.sleep(0, "3"))]
    async with Registry([Fixed(tools)]) as registry, running(engine_of(calling), registry=registry) as server:
        size: Any = {"width": width, "height": 900}
        # The page's policy keeps other scripts out, this one too.
        options: Any = {"viewport": size, "color_scheme": scheme, "bypass_csp": True, "reduced_motion": "reduce"}
        async with visiting(browser, server.url, **options) as visit:
            page = visit.page
            await page.evaluate(AXE.read_text())
            await expect(page.locator(".link.up")).to_be_visible()
            assert await page.evaluate(FINDINGS) == []
            for name in ("first", "second"):
                await page.get_by_label(name).check()
            await visit.ask()
            await expect(visit.column("long").locator(".answer")).to_have_text(ANSWER)
            await visit.is_done()
            for details in await page.locator("details").all():
                await details.evaluate("node => { node.open = true }")
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            assert await page.evaluate(FINDINGS) == []


async def test_streams_and_metrics_are_read_however_they_are_cut(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        cut = """async () => {
            const { eventData } = await import("/page/api.js")
            const bytes = new TextEncoder().encode('data: {"a": "é"}\\r\\n\\r\\n: note\\n\\ndata: b\\ndata: c\\n\\ndata: cut')
            const read = []
            for (let size = 1; size < bytes.length; size++) {
                const stream = new ReadableStream({ start(to) {
                    for (let at = 0; at < bytes.length; at += size) to.enqueue(bytes.slice(at, at + size))
                    to.close()
                } })
                const events = []
                for await (const data of eventData(stream)) events.push(data)
                read.push(JSON.stringify(events))
            }
            return [...new Set(read)]
        }"""
        assert await visit.page.evaluate(cut) == [json.dumps(['{"a": "é"}', "b\nc"], ensure_ascii=False, separators=(",", ":"))]
        text = 'h_bucket{le="0.5"} 2.0\\nh_bucket{le="+Inf"} 5.0\\nm{a="x\\\\"}y",b="z"} 1e3\\nm 2\\n# HELP m no\\n'
        parse = f"""async () => {{
            const {{ parse, sum, buckets }} = await import("/page/prometheus.js")
            const samples = parse(`{text}`)
            const labelled = sum(samples, "m", {{ a: 'x"}}y' }})
            return [sum(samples, "m"), labelled, sum(samples, "n"), buckets(samples, "h").map(one => one.count)]
        }}"""
        assert await visit.page.evaluate(parse) == [1002, 1000, None, [2, 3]]
