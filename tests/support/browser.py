"""A headless Chromium, and the contrast of colours."""

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from playwright.async_api import Browser as AsyncBrowser
from playwright.async_api import async_playwright
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Chromium's own sandbox needs rights that a container does not give.
ARGUMENTS = ["--no-sandbox"]
AXE = Path(__file__).parents[2] / ".cache" / "axe-core" / "axe.min.js"
"""Finds what keeps people from using a page; `make test` fetches it from npm."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser, and close it at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@asynccontextmanager
async def chromium_beside_servers() -> AsyncIterator[AsyncBrowser]:
    """Start the browser in an event loop that also runs servers, and close it at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


def contrast(ink: str, paper: str) -> float:
    """Return the contrast, as WCAG 2 defines it, of `rgb(r, g, b)` or `rgba(r, g, b, a)` on `rgb(r, g, b)`."""
    below = _parts(paper)
    *above, alpha = (*_parts(ink), 1.0)[:4]
    lights = sorted((_luminance([alpha * a + (1 - alpha) * b for a, b in zip(above, below, strict=False)]), _luminance(below)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _parts(colour: str) -> list[float]:
    return [float(part) for part in re.findall(r"[\d.]+", colour)]


def _luminance(parts: list[float]) -> float:
    scaled = [part / 255 for part in parts[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in scaled)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
