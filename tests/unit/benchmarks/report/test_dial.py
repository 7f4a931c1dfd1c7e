import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console
from support.bench_runs import row, synthetic_rows, turn, write_run

from autotool_bench.report import write_dial
from autotool_bench.report.bias import Position, choices, largest_gain
from autotool_bench.report.columns import read_run
from autotool_bench.report.dial import advice, dial_positions, names_of, spend
from autotool_bench.report.summary import report_run
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
    shown = console.export_text()
    assert "+2" in shown
    assert "The bias to take for a cost" in shown
    assert "coin toss between short and long</text>" in page


def test_a_dial_says_that_limits_cut_thoughts(tmp_path: Path) -> None:
    rows = [row(name, mode, turns=[turn(reasoning_truncated=mode == "auto@2")]) for name in "ab" for mode in MODES]
    console = Console(width=100, record=True, file=(tmp_path / "shown").open("w"))
    write_dial(write_run(tmp_path, rows), console)
    warning = "auto@2: 2 of 2 thoughts were cut: raise --max-tokens."
    assert console.export_text().count(warning) == (tmp_path / "dial.html").read_text().count(warning) == 1


def rows_of(mode: str, solved: int, tokens: int) -> list[dict[str, Any]]:
    return [row(str(index), mode, solved=index < solved, turns=[turn(tokens)]) for index in range(10)]


def positions_of(folder: Path, *modes: tuple[str, int, int]) -> list[Position]:
    run = read_run(write_run(folder, [line for mode in modes for line in rows_of(*mode)]))
    return dial_positions(run, report_run(run, "run"))


def test_the_gain_is_measured_from_the_straight_line_between_short_and_long(tmp_path: Path) -> None:
    modes = [("auto@0", 6, 60), ("auto@2", 6, 85), ("auto@4", 8, 120), ("short", 2, 10), ("long", 8, 110)]
    positions = positions_of(tmp_path, *modes)
    assert [position.mode for position in positions] == ["short", "auto@0", "auto@2", "auto@4", "long"]
    gains = [None if position.gain is None else round(position.gain.value, 9) for position in positions]
    # A coin that takes long half the time solves 50 % for 60 tokens; beyond long's cost, long itself is the measure.
    assert gains == [None, 0.1, -0.05, 0.0, None]
    for position in positions[1:4]:
        assert position.gain is not None
        assert position.gain.interval.low <= position.gain.value <= position.gain.interval.high
    best = largest_gain(positions)
    assert best is not None
    assert best.bias == 0
    assert "bias 0 gains most over a coin toss between short and long: +10.0 points" in advice(positions)


def test_the_position_to_take_for_a_cost(tmp_path: Path) -> None:
    positions = positions_of(tmp_path, ("auto@-2", 5, 40), ("auto@2", 5, 70), ("short", 2, 10), ("long", 8, 110))
    taken = [(choice.position.mode, spend(choice)) for choice in choices(positions)]
    assert taken == [("short", "10.0 to 40.0"), ("auto@-2", "40.0 to 110"), ("long", "110 and more")]


def test_a_dial_without_both_forced_modes_has_no_coin_toss(tmp_path: Path) -> None:
    positions = positions_of(tmp_path, ("auto@-2", 5, 40), ("auto@2", 6, 70), ("short", 2, 10))
    assert largest_gain(positions) is None
    assert "not both short and long" in advice(positions)


@pytest.mark.parametrize("width", [80, 100])
def test_the_tables_of_the_dial_fit_a_terminal(tmp_path: Path, width: int) -> None:
    console = Console(width=width, record=True, file=(tmp_path / "shown").open("w"))
    write_dial(write_run(tmp_path / "run", synthetic_rows(60, modes=MODES)), console)
    shown = console.export_text()
    assert max(map(len, shown.splitlines()[:-1])) <= width
    assert "…" not in shown


def test_a_run_without_biases_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="fewer than two reasoning biases"):
        write_dial(write_run(tmp_path, [row("a", "auto"), row("a", "long"), row("a", "auto@1")]))


def test_names_of_points_too_close_for_two_are_joined() -> None:
    places = [(10.0, 50.0), (10.1, 50.0), (50.0, 50.0), (50.0, 80.0)]
    assert names_of(["a", "b", "c", "d"], places, (5.0, 5.0)) == [("a, b", places[1]), ("c", places[2]), ("d", places[3])]


def test_names_of_many_points_in_one_place_do_not_fill_the_plot() -> None:
    assert names_of(["-1", "0", "+1", "+2"], [(0.0, 0.0)] * 4, (1.0, 1.0)) == [("-1 to +2", (0.0, 0.0))]
