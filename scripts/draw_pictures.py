"""Draw the pictures of the docs from their sources: `python scripts/draw_pictures.py`, after a change of a source.

The diagrams of docs/design are drawn with Graphviz from the .dot files, and the terminal of docs/img/make-run.svg with rich
from make-run.json, which holds what `make run` printed (default model, greedy, transformers engine), without the seconds. The
.svg files are committed, so that Graphviz is needed for a change only. A comment in each holds the digest of its source;
tests/unit/docs/test_pictures.py compares the two.
"""

import hashlib
import io
import json
import re
import subprocess
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.terminal_theme import MONOKAI

DOCS = Path(__file__).parent.parent / "docs"
SOURCES = (*sorted((DOCS / "design").glob("*.dot")), DOCS / "img" / "make-run.json")
COLUMNS = 110
"""Width of the terminal."""


def source_comment(source: str) -> str:
    """Return the comment that names the source an SVG was drawn from."""
    return f"<!-- source: sha256 {hashlib.sha256(source.encode()).hexdigest()} -->"


def diagram(source: str) -> str:
    """Return a diagram in Graphviz's language as SVG. Raises FileNotFoundError if Graphviz is not installed."""
    command = ["dot", "-Tsvg"]  # wherever Graphviz is installed
    svg = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout  # noqa: S603
    # Without the XML head and Graphviz's own comments, which differ between its versions.
    return re.sub(r"<!--.*?-->\n?", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def terminal(source: str) -> str:
    """Return a terminal as SVG, without the fonts that rich's SVG would fetch from the network."""
    shown = json.loads(source)
    table = Table(*shown["columns"], title="Two requests in three modes", box=SIMPLE_HEAD)
    for row in shown["rows"]:
        table.add_row(*row["cells"], style="" if row["right"] else "red", end_section=row.get("last", False))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print("[bold green]$[/] make run")
    for line in shown["requests"]:
        console.print(line, markup=False, highlight=False)
    console.print(table)
    svg = console.export_svg(title="make run", theme=MONOKAI, unique_id="make-run")
    return re.sub(r"\s*@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.DOTALL)


def picture(path: Path) -> str:
    """Return the SVG of a source, with the comment that names it."""
    source = path.read_text(encoding="utf-8")
    drawn = diagram(source) if path.suffix == ".dot" else terminal(source)
    return f"{source_comment(source)}\n{drawn}"


if __name__ == "__main__":
    for path in SOURCES:
        path.with_suffix(".svg").write_text(picture(path), encoding="utf-8")
