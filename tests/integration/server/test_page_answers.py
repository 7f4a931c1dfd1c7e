"""What the page says of answers, in a real browser: which can be compared, and how they came about."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
from playwright.async_api import Browser, expect
from support.page import ANSWER, TOKENIZER, Visit, calling, engine_of, visiting
from support.serving import running
from support.tools import Fixed, Scripted

from autotool_core.profile import BUILTIN
from autotool_server.engines.base import EngineRequest
from autotool_server.engines.scripted import ScriptedEngine
from autotool_server.tools.registry import Registry

GREEDY = {"temperature": 0.0}


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
        await visit.page.get_by_text("Your functions").click()
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


@asynccontextmanager
async def with_tools(browser: Browser, write: Callable[[EngineRequest], str], result: str) -> AsyncIterator[Visit]:
    """A page with two chosen tools of the server, of which the first has a result."""
    tools = [Scripted("first", lambda _: asyncio.sleep(0, result)), Scripted("second", lambda _: asyncio.sleep(0, "3"))]
    async with (
        Registry([Fixed(tools)]) as registry,
        running(engine_of(write), registry=registry) as server,
        visiting(browser, server.url) as visit,
    ):
        for name in ("first", "second"):
            await visit.page.get_by_label(name).check()
        yield visit


async def test_calls_of_server_tools_have_a_line_with_their_result(browser: Browser) -> None:
    result = f"<b>light</b> rain, {'and more ' * 60}"
    async with with_tools(browser, calling, result) as visit:
        await visit.ask()
        await visit.is_done()
        calls = visit.column("short").locator(".tool-run")
        lines = [await line.inner_text() for line in await calls.locator("summary").all()]
        assert lines[0].startswith('first { "a": 1, "b": 2 } → <b>light</b> rain, and more')
        assert lines[0].endswith(" …")
        assert lines[1] == 'second { "a": 1, "b": 2 } → 3'
        line = calls.locator("summary").first
        assert await line.evaluate("node => [getComputedStyle(node).textOverflow, node.clientHeight < 30]") == [
            "ellipsis",
            True,
        ]
        await line.click()
        await expect(calls.locator("pre").first).to_contain_text(result.strip())
        assert await calls.locator("b").all_inner_texts() == ["first", "second"]


def thinking(request: EngineRequest) -> str:
    """Think in each long turn; call a tool, and answer when its result is there."""
    prompt = TOKENIZER.decode(list(request.prompt_ids))
    has_result = "<|im_start|>tool" in prompt
    text = ANSWER if has_result else '<tool_call>\n{"name": "first", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    thought = "The sum is there." if has_result else "A sum is asked for."
    return f"{thought}\n</think>\n\n{text}" if prompt.endswith("<think>\n") else text


async def test_the_reasoning_of_several_turns_is_told_apart(browser: Browser) -> None:
    async with with_tools(browser, thinking, "3") as visit:
        await visit.ask()
        await visit.is_done()
        reasoning = visit.column("long").locator(".reasoning")
        assert await reasoning.locator(".turn, p").all_inner_texts() == [
            *("turn 1", "A sum is asked for."),
            *("turn 2", "The sum is there."),
        ]


LINES = [f"Line {number}." for number in range(40)]


def dwelling(request: EngineRequest) -> str:
    """Think in many lines in a turn that is long, then answer."""
    prompt = TOKENIZER.decode(list(request.prompt_ids))
    thought = "\n".join(LINES)
    return f"{thought}\n</think>\n\n{ANSWER}" if prompt.endswith("<think>\n") else "No."


def held_evenly(engine: ScriptedEngine, after: int) -> asyncio.Event:
    """Let answers grow side by side, and pause all of them after some tokens, until the event is set."""
    release, seen = asyncio.Event(), count()

    async def pace() -> None:
        await (asyncio.sleep(0.001) if next(seen) < after else release.wait())

    engine.gate = lambda: asyncio.ensure_future(pace())
    return release


INSIDE = """box => { const [outer, inner] = [box, box.querySelector("p")].map(node => node.getBoundingClientRect())
    return [inner.top >= outer.top - 1, inner.bottom <= outer.bottom + 1] }"""
"""Whether the beginning and the end of the reasoning are in sight."""


async def test_reasoning_shows_its_end_while_it_grows_and_then_its_beginning(browser: Browser) -> None:
    engine = engine_of(dwelling)
    async with running(engine, override_generation_config=GREEDY) as server, visiting(browser, server.url) as visit:
        release = held_evenly(engine, after=2 * len(TOKENIZER.encode("\n".join(LINES[:25]))))
        await visit.ask()
        box = visit.column("long").locator(".scrolled")
        await expect(box).to_contain_text("Line 20.")
        assert await box.evaluate(INSIDE) == [False, True]
        release.set()
        await visit.is_done()
        assert await box.evaluate(INSIDE) == [True, False]


RUN = {
    "status": "done",
    "endedAfter": 20_000,
    "usage": {"completion_tokens": 102},
    "toolRuns": [],
    "turns": [
        {"start": 0, "first": 1000, "last": 2000, "end": 2000},
        {"start": 17_000, "first": 18_000, "last": 19_000, "end": 19_000},
    ],
}
"""A run of 51 tokens in each of two turns, which took a second, with a tool of 15 seconds between them."""


async def test_speed_leaves_out_prompts_and_tools_and_costs_are_hinted_at(browser: Browser) -> None:
    async with running(engine_of()) as server, visiting(browser, server.url) as visit:
        speed = "async run => (await import('/page/figures.js')).speed(run)"
        assert await visit.page.evaluate(speed, RUN) == 50
        await visit.ask()
        await visit.is_done()
        await expect(visit.column("short").locator(".figures dd").nth(3)).to_have_text("type prices")
        await visit.page.get_by_label("a million decoded tokens").fill("0.4")
        await expect(visit.column("short").locator(".figures dd").nth(3)).to_have_text(re.compile(r"^\$0\.0\d"))


async def test_the_mode_of_the_last_of_several_turns_is_named_as_such(browser: Browser) -> None:
    async with with_tools(browser, thinking, "3") as visit:
        await visit.page.locator("#bias").fill("8")  # surely long
        await visit.ask()
        await visit.is_done()
        await expect(visit.column("auto").locator(".state")).to_contain_text("turn 2long")


def disagreeing(request: EngineRequest) -> str:
    """Call a tool, in short with other arguments than in long."""
    is_long = TOKENIZER.decode(list(request.prompt_ids)).endswith("<think>\n")
    call = '<tool_call>\n{"name": "add", "arguments": ARGUMENTS}\n</tool_call>'
    return (
        "Two.\n</think>\n\n" + call.replace("ARGUMENTS", '{"a": 1, "b": 2}')
        if is_long
        else call.replace("ARGUMENTS", '{"a": 3}')
    )


async def test_the_verdict_tells_whether_the_calls_are_the_same(browser: Browser) -> None:
    function = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    async with (
        running(engine_of(disagreeing), override_generation_config=GREEDY) as server,
        visiting(browser, server.url) as visit,
    ):
        verdict = visit.page.locator(".verdict")
        await visit.page.get_by_text("Your functions").click()
        await visit.page.fill("#functions", json.dumps([function]))
        for bias, said in (
            ("8", "the same as those of long and different from those of short"),
            ("-8", "the same as those of short"),
        ):
            await visit.page.locator("#bias").fill(bias)
            await visit.ask()
            await visit.is_done()
            await expect(verdict).to_contain_text(f"Its tool calls are {said}")


async def test_the_verdict_of_several_turns_counts_them(browser: Browser) -> None:
    async with with_tools(browser, thinking, "3") as visit:
        await visit.page.locator("#bias").fill("8")
        await visit.ask()
        await visit.is_done()
        await expect(visit.page.locator(".verdict")).to_contain_text("auto answered long in both turns, with")
        await expect(visit.page.locator(".verdict")).to_contain_text("Its tool calls are the same as those of long and short.")
