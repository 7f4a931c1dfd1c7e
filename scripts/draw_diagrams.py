"""Draw the diagrams of docs/design with Graphviz: `python scripts/draw_diagrams.py`, after a change of a .dot file.

The .svg files are committed beside their sources, so that Graphviz is needed for a change only. A comment in each holds the
digest of its source; tests/unit/docs/test_diagrams.py compares the two.
"""

import hashlib
import re
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs" / "design"


def source_comment(source: str) -> str:
    """Return the comment that names the source an SVG was drawn from."""
    return f"<!-- source: sha256 {hashlib.sha256(source.encode()).hexdigest()} -->"


def draw(path: Path) -> str:
    """Return a .dot file as SVG. Raises FileNotFoundError if Graphviz is not installed."""
    source = path.read_text(encoding="utf-8")
    svg = subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, text=True, check=True).stdout
    # Without the XML head and Graphviz's own comments, which differ between its versions.
    body = re.sub(r"<!--.*?-->\n?", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return f"{source_comment(source)}\n{body}"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.dot")):
        path.with_suffix(".svg").write_text(draw(path), encoding="utf-8")
