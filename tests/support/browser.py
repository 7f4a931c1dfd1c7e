"""A headless Chromium, and the contrast of colours."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser, and close it at the end."""
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container does not give.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


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
