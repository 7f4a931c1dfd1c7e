"""Tools of the server on the page, in a real browser: the timeline of their calls, and approval."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, expect
from support.page import ANSWER, MODES, TOKENIZER, Visit, calling, engine_of, visiting
from support.serving import Running, running
from support.tools import Fixed, Scripted

from autotool_server.engines.base import EngineRequest
from autotool_server.tools.registry import Registry

BARS = "row => Object.fromEntries([...row.querySelectorAll('i')].map(bar => [bar.className, bar.getBoundingClientRect()]))"


@asynccontextmanager
async def with_tools(
    browser: Browser, write: Callable[[EngineRequest], str] = calling, seconds: float = 0.005, **policy: Any
) -> AsyncIterator[tuple[Running, Visit]]:
    """A page with two chosen tools of the server, which take a while, and a model that takes `seconds` for each token."""

    async def work(_: Any) -> str:
        await asyncio.sleep(0.4)
        return "3"

    tools = [Scripted("first", work, read_only=True), Scripted("second", work, **policy)]
    engine = engine_of(write, seconds)
    async with (
        Registry([Fixed(tools)]) as registry,
        running(engine, registry=registry) as server,
        visiting(browser, server.url) as visit,
    ):
        for name in ("first", "second"):
            await visit.page.get_by_label(name).check()
        yield server, visit


async def timeline(visit: Visit, mode: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the name of each lane of a column's timeline, and the rectangles of its bars by their kind."""
    lanes = await visit.column(mode).locator(".timeline li").all()
    return [(await lane.locator(".lane").inner_text(), await lane.evaluate(BARS)) for lane in lanes]


async def test_calls_of_server_tools_are_a_timeline_with_their_overlap(browser: Browser) -> None:
    async with with_tools(browser) as (_, visit):
        await visit.ask()
        await expect(visit.column("short").locator(".answer")).to_have_text(ANSWER)
        await visit.is_done()
        lanes = await timeline(visit, "short")
        assert [name for name, _ in lanes] == ["turn 1", "first", "second", "turn 2"]
        record = json.loads(await visit.column("short").locator(".json").text_content() or "")
        first, second = record["turns"][0]["executions"]
        assert first["overlap_seconds"] > 0.1
        assert second["overlap_seconds"] == 0
        rows = [bars for _, bars in lanes]
        assert rows[1]["overlaps"]["width"] > 5
        assert "overlaps" not in rows[2]
        # The overlap ends with the turn, and the second call begins there.
        turn = rows[0]["answers"] if "answers" in rows[0] else rows[0]["waits"]
        assert abs(rows[1]["overlaps"]["right"] - turn["right"]) < 3
        assert rows[2]["runs"]["left"] > rows[1]["overlaps"]["right"] - 12


def calling_again(request: EngineRequest) -> str:
    """Make a call in each of two turns, and answer shortly in the third."""
    prompt = TOKENIZER.decode(list(request.prompt_ids))
    results = prompt.count("<|im_start|>tool")
    call = f'<tool_call>\n{{"name": "first", "arguments": {{"a": {results}, "b": 2}}}}\n</tool_call>'
    return ("\n</think>\n\n" if prompt.endswith("<think>\n") else "") + (call if results < 2 else "Done.")


async def test_a_turn_that_writes_calls_alone_is_shown_as_decoded_in_every_mode(browser: Browser) -> None:
    # A turn takes seconds: a browser on a busy machine may see what comes within less than one at once.
    async with with_tools(browser, calling_again, seconds=0.05) as (_, visit):
        await visit.ask()
        await visit.is_done()
        for mode in MODES:
            await expect(visit.column(mode).locator(".answer")).to_have_text("Done.")
            lanes = await timeline(visit, mode)
            assert [name for name, _ in lanes] == ["turn 1", "first", "turn 2", "first", "turn 3"]
            second = {kind: bar["width"] for kind, bar in lanes[2][1].items()}
            assert second.get("answers", 0) > second.get("waits", 0)


async def test_a_call_that_needs_approval_waits_for_the_user(browser: Browser) -> None:
    async with with_tools(browser, approval="always") as (_, visit):
        await visit.ask()
        approval = visit.column("short").locator(".approval")
        await expect(approval).to_contain_text("second")
        await approval.get_by_role("button", name="Approve").click()
        await expect(visit.column("short").locator(".answer")).to_have_text(ANSWER)
