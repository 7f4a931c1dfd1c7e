"""Text on a console is what was printed."""

import ast
from pathlib import Path

import pytest
from rich.table import Table

from autotool_core.console import plain_console

ROOT = Path(__file__).parents[3]
PACKAGES = ("core/autotool_core", "server/autotool_server", "training/autotool_training", "benchmarks/autotool_bench")


def test_a_plain_console_changes_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[bold]a[/]", box=None)
    table.add_row(":100: [red]b[/red]")
    plain_console().print(":cat: [bold]c[/bold]", table)
    shown = capsys.readouterr().out
    for text in (":cat: [bold]c[/bold]", "[bold]a[/]", ":100: [red]b[/red]"):
        assert text in shown


def test_no_module_makes_a_console_that_reads_markup() -> None:
    found = [
        f"{path}:{node.lineno}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "console.py" and "Console(" in path.read_text()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console"
    ]
    assert found == []
