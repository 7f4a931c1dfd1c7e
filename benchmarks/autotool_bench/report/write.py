"""Write a report: terminal tables, report.json and report.html (`autotool bench report`)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from autotool_bench.report import page, terminal
from autotool_bench.report.summary import report_json, report_runs
from autotool_core.console import plain_console


def write_report(folders: Sequence[Path], out: Path | None = None, console: Console | None = None) -> None:
    """Report runs side by side, into `out` or the first run's folder. Raises AutoToolError for a folder without a run."""
    console = console or plain_console()
    runs = report_runs(folders)
    into = out or folders[0]
    into.mkdir(parents=True, exist_ok=True)
    terminal.show(runs, console)
    write_json(into / "report.json", report_json(runs))
    write_text(into / "report.html", page.report_page(runs))
    console.print(Text(f"\n{into / 'report.html'}"), soft_wrap=True)


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON. Raises ValueError for a number that is not finite."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8. A lone surrogate, which JSON allows and UTF-8 does not, becomes a question mark."""
    path.write_text(text, encoding="utf-8", errors="replace")
