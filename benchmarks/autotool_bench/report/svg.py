"""Draw a matplotlib figure as SVG: inline in a page, with the page's colours and fonts, or as a separate file."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

# Colours that are distinguishable with any colour vision (Okabe and Ito, 2008, Color Universal Design), and the page's names
# for them, which have a second value in the dark theme.
AUTO, LONG, SHORT, OTHER = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK, MUTED, GRID, PAPER = "#1c2024", "#60686f", "#dfe3e6", "#fffffe"
NAMES = {
    AUTO: "--auto",
    LONG: "--long",
    SHORT: "--short",
    OTHER: "--other",
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, read by screen readers, in the page's font
    "svg.hashsalt": "autotool",  # equal figures give equal files
    "text.parse_math": False,  # a category's name may contain a dollar sign
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)

Draw = Callable[[Figure], None]
"""Fills a figure."""


def inline(draw: Draw, name: str, title: str, description: str, size: tuple[float, float]) -> str:
    """Return SVG for a page. All its ids contain `name`, so that no two figures on a page share an id. Size in inches."""
    root = _parsed(_drawn(draw, size, transparent=True))
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        _rename(element, name)
        _recolour(element)
    _describe(root, name, title, description)
    return ElementTree.tostring(root, encoding="unicode")


def standalone(draw: Draw, title: str, description: str, size: tuple[float, float]) -> str:
    """Return SVG for a separate file, on a white background."""
    root = _parsed(_drawn(draw, size, transparent=False))
    _describe(root, "figure", title, description)
    return ElementTree.tostring(root, encoding="unicode")


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        # The browser draws the text, so glyphs that matplotlib's font lacks do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _drawn(draw: Draw, size: tuple[float, float], *, transparent: bool) -> str:
    text = io.StringIO()
    with _style():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", transparent=transparent, metadata={"Date": None})
    return text.getvalue()


def _parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 drawn by this module


def _rename(element: ElementTree.Element, name: str) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif value.startswith("#") and key == f"{{{XLINK}}}href":
            element.set(key, f"#{name}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))


def _recolour(element: ElementTree.Element) -> None:
    """Replace colours by the page's variables, which only a style attribute can name."""
    attributes = [f"{name}: {element.attrib.pop(name)}" for name in ("fill", "stroke") if element.get(name) in NAMES]
    style = "; ".join([*attributes, *filter(None, [element.get("style")])])
    for colour, variable in NAMES.items():
        style = style.replace(colour, f"var({variable})")
    if style:
        element.set("style", style)


def _describe(root: ElementTree.Element, name: str, title: str, description: str) -> None:
    """Add the title and description that a screen reader reads."""
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for tag, text in (("desc", description), ("title", title)):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{'title' if tag == 'title' else 'description'}"})
        element.text = text
        root.insert(0, element)
