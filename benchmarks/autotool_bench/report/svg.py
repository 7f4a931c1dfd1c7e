"""A matplotlib figure as SVG: inline in a page, in the page's colours and type, or as a file of its own."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

# Colours that tell themselves apart for every kind of colour vision (Okabe and Ito, 2008, Color Universal Design), and the
# page's names for them, which have a second value for a dark page.
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
    "svg.fonttype": "none",  # text stays text: readable aloud, searchable, in the page's own type
    "svg.hashsalt": "autotool",  # the same figures give the same file
    "text.parse_math": False,  # a category's name may hold a dollar sign
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
    """SVG to put into a page: `name` is part of all its ids, so that two figures on a page never share one. Size in inches."""
    root = _parsed(_drawn(draw, size, transparent=True))
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        _rename(element, name)
        _recolour(element)
    _describe(root, name, title, description)
    return ElementTree.tostring(root, encoding="unicode")


def standalone(draw: Draw, title: str, description: str, size: tuple[float, float]) -> str:
    """SVG for a file of its own, on white."""
    root = _parsed(_drawn(draw, size, transparent=False))
    _describe(root, "figure", title, description)
    return ElementTree.tostring(root, encoding="unicode")


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        # The reader's own type draws the text: what matplotlib's lacks does not matter.
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
    return ElementTree.fromstring(text)  # noqa: S314 our own drawing, no document from elsewhere


def _rename(element: ElementTree.Element, name: str) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif value.startswith("#") and key == f"{{{XLINK}}}href":
            element.set(key, f"#{name}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))


def _recolour(element: ElementTree.Element) -> None:
    """Colours become the page's variables, which only a style may name."""
    loose = [f"{name}: {element.attrib.pop(name)}" for name in ("fill", "stroke") if element.get(name) in NAMES]
    style = "; ".join([*loose, *filter(None, [element.get("style")])])
    for colour, variable in NAMES.items():
        style = style.replace(colour, f"var({variable})")
    if style:
        element.set("style", style)


def _describe(root: ElementTree.Element, name: str, title: str, description: str) -> None:
    """What a screen reader says instead of the drawing."""
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for tag, text in (("desc", description), ("title", title)):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{'title' if tag == 'title' else 'description'}"})
        element.text = text
        root.insert(0, element)
