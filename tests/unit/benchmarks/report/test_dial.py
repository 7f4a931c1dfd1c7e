import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from support.bench_runs import row, synthetic_rows, write_run

from autotool_bench.report import write_dial
from autotool_bench.report.dial import names_of
from autotool_core.errors import AutoToolError

MODES = ("auto@2", "auto@-2", "auto@0", "long", "short")


def test_a_dial_run_gives_a_table_a_plot_and_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", synthetic_rows(60, modes=MODES), label="<i>mine</i>")
    console = Console(width=100, record=True, file=(tmp_path / "shown").open("w"))
    write_dial(folder, console)
    steps = json.loads((folder / "dial.json").read_text())["steps"]
    assert [step["bias"] for step in steps] == [-2, 0, 2]
    assert steps[0]["figures"]["thinking_rate"] < steps[1]["figures"]["thinking_rate"] < steps[2]["figures"]["thinking_rate"]
    drawing = ElementTree.parse(folder / "dial.svg")  # noqa: S314 made by the code under test
    assert drawing.getroot().tag.endswith("svg")
    page = (folder / "dial.html").read_text()
    assert "&lt;i&gt;mine&lt;/i&gt;" in page
    assert "<i>mine" not in page
    assert "+2" in console.export_text()


def test_a_run_without_biases_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="fewer than two reasoning biases"):
        write_dial(write_run(tmp_path, [row("a", "auto"), row("a", "long"), row("a", "auto@1")]))


def test_names_of_points_too_close_for_two_are_joined() -> None:
    places = [(10.0, 50.0), (10.1, 50.0), (50.0, 50.0), (50.0, 80.0)]
    assert names_of(["a", "b", "c", "d"], places, (100.0, 100.0)) == [("a, b", places[1]), ("c", places[2]), ("d", places[3])]
