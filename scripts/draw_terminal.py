"""Draw docs/img/make-run.svg, the terminal of `make run`: `python scripts/draw_terminal.py`, after a change of make-run.json.

make-run.json holds what `make run` printed (the default model, greedy, the transformers engine), without the seconds.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.terminal_theme import MONOKAI

FOLDER = Path(__file__).parent.parent / "docs" / "img"
WIDTH = 110
"""Columns of the terminal."""


def draw(shown: dict[str, Any]) -> str:
    """Return a terminal with the table as SVG, without the fonts that rich would fetch from the network."""
    table = Table(*shown["columns"], title="Two requests in three modes", box=SIMPLE_HEAD)
    for row in shown["rows"]:
        right = row[1] != "short" or row[0] == "easy"
        table.add_row(*row, style="" if right else "red", end_section=row is shown["rows"][2])
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print("[bold green]$[/] make run")
    for line in shown["requests"]:
        console.print(line, markup=False, highlight=False)
    console.print(table)
    svg = console.export_svg(title=shown["title"], theme=MONOKAI, unique_id="make-run")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    shown = json.loads((FOLDER / "make-run.json").read_text(encoding="utf-8"))
    (FOLDER / "make-run.svg").write_text(draw(shown), encoding="utf-8")
