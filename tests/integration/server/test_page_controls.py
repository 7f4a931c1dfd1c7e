"""What a user of the page sets, in a real browser."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from support.page import ANSWER, MODES, engine_of, visiting
from support.serving import running
from support.tools import Fixed, Scripted, add

from autotool_server.tools.registry import Registry


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


DRAWN = """
    window.drawn = []
    const { fillText } = CanvasRenderingContext2D.prototype
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        window.drawn.push(text)
        fillText.call(this, text, ...place)
    }"""
"""Keeps the texts that charts draw."""


@pytest.mark.parametrize("has_dial", [True, False])
async def test_the_axes_of_the_dial_are_named_and_its_mark_is_explained(
    browser: Browser, tmp_path: Path, has_dial: bool
) -> None:
    figures = [(-4.0, 0.31, 55.0, 0.0), (0.0, 0.72, 140.0, 0.55), (4.0, 0.85, 171.0, 0.97)]
    names = ("accuracy", "generated_tokens", "thinking_rate")
    steps = [{"bias": bias, "figures": dict(zip(names, values, strict=True))} for bias, *values in figures]
    (tmp_path / "dial.json").write_text(json.dumps({"steps": steps}))
    dial: dict[str, Any] = {"dial": str(tmp_path / "dial.json")} if has_dial else {}
    async with running(engine_of(), **dial) as server, visiting(browser, server.url) as visit:
        await visit.page.add_init_script(DRAWN)
        await visit.page.reload()
        await expect(visit.page.locator(".link.up")).to_be_visible()
        await expect(visit.page.locator(".dial canvas")).to_have_count(2 if has_dial else 1)
        drawn = set(await visit.page.evaluate("window.drawn"))
        assert {"bias", "\N{MINUS SIGN}4"} | ({"solved, %", "tokens"} if has_dial else {"probability of long"}) <= drawn
        await expect(visit.page.locator(".dial figcaption")).to_contain_text("current bias")


async def test_the_budget_of_the_server_is_at_the_right_end(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        budget, shown = visit.page.locator("#budget"), visit.page.locator("output[for=budget]")
        await expect(shown).to_have_text("server's default")
        await expect(budget).to_have_value(await budget.get_attribute("max") or "")
        await budget.fill("0")
        await expect(shown).to_have_text("0 tokens")
