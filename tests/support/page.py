"""The server's page in a browser, and a model that writes scripts for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page, expect

from autotool_server.engines.base import EngineRequest
from autotool_server.engines.scripted import ScriptedEngine
from support.serving import scripted

MODES = ("auto", "long", "short")
THOUGHT = "Two and two are asked for. "
ANSWER = " ".join(["It is four."] * 12)
expect.set_options(timeout=20_000)  # machines that run tests are busy


def write(request: EngineRequest) -> str:
    """Reason in a turn that is long, then answer."""
    prompt = TOKENIZER.decode(list(request.prompt_ids))
    return f"{THOUGHT}\n</think>\n\n{ANSWER}" if prompt.endswith("<think>\n") else ANSWER


TOKENIZER: Any = scripted("").tokenizer


def engine_of(write: Any = write, seconds: float = 0.0, log_odds: float = 2.0) -> ScriptedEngine:
    """An engine that mostly reasons in auto, each token after some seconds, until its gate is taken away."""
    engine = scripted(write, log_odds=log_odds)
    if seconds:
        engine.gate = lambda: asyncio.ensure_future(asyncio.sleep(seconds))  # pyright: ignore[reportAttributeAccessIssue]
    return engine


def calling(request: EngineRequest) -> str:
    """Make two calls and answer when their results are there."""
    prompt = TOKENIZER.decode(list(request.prompt_ids))
    if "<|im_start|>tool" in prompt:
        return ANSWER
    call = '<tool_call>\n{"name": "NAME", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    calls = [call.replace("NAME", name) for name in ("first", "second")]
    return ("\n</think>\n\n" if prompt.endswith("<think>\n") else "") + "\n".join(calls)


class Visit:
    """An open page, with what it asked for and what it said on the console."""

    def __init__(self, page: Page) -> None:
        self.page, self.requests, self.messages = page, list[str](), list[str]()
        page.on("request", lambda request: self.requests.append(request.url))
        # A server without an audit has no savings, which the browser reports.
        page.on("console", lambda message: None if "404" in message.text else self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))

    def column(self, mode: str) -> Any:
        """Return a mode's column."""
        return self.page.locator(f".column.{mode}")

    async def ask(self, question: str = "What is 2 + 2?") -> None:
        """Ask a question by the keyboard, as soon as the page knows what is served."""
        await self.page.fill("#question", question)
        await expect(self.page.get_by_role("button", name="Ask").first).to_be_enabled()
        await self.page.keyboard.press("Control+Enter")
        await expect(self.page.locator(".column .state").first).to_be_visible()

    async def is_done(self) -> None:
        """Wait until no answer is under way."""
        await expect(self.page.get_by_role("button", name="Ask", exact=False).first).to_be_visible()
        await expect(self.page.locator(".busy")).to_have_count(0)


@asynccontextmanager
async def visiting(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visit]:
    """Open the page of a server, and check in the end that nothing but the server was asked and nothing went wrong."""
    page = await browser.new_page(**options)
    visit = Visit(page)
    root = url.removesuffix("/v1")
    await page.goto(f"{root}/")
    yield visit
    assert [url for url in visit.requests if not url.startswith(f"{root}/")] == []
    assert visit.messages == []
    await page.close()
