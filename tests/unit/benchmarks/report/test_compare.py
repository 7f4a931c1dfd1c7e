import json
from pathlib import Path

import pytest
from rich.console import Console
from support.bench_runs import row, turn, write_run

from autotool_bench.report import compare
from autotool_bench.report.columns import StoredRun, read_run
from autotool_bench.report.compare import compare_runs
from autotool_core.errors import AutoToolError


def run(folder: Path, solved: dict[str, bool], mode: str = "auto", tokens: int = 10, **about: str) -> StoredRun:
    return read_run(
        write_run(folder, [row(item, mode, solved=won, turns=[turn(tokens)]) for item, won in solved.items()], **about)
    )


def test_who_solved_what_item_by_item(tmp_path: Path) -> None:
    a = run(tmp_path / "a", {"p": True, "q": True, "r": False, "s": False, "only here": True}, tokens=20)
    b = run(tmp_path / "b", {"s": False, "r": True, "q": False, "p": True, "only there": True}, tokens=10)
    (comparison,) = compare_runs(a, b)
    assert (comparison.solved.both, comparison.solved.only_a, comparison.solved.only_b, comparison.solved.neither) == (
        ("p",),
        ("q",),
        ("r",),
        ("s",),
    )
    assert (comparison.missing_in_a, comparison.missing_in_b) == (("only there",), ("only here",))
    assert (comparison.items, comparison.accuracy_a, comparison.accuracy_b, comparison.difference, comparison.p_value) == (
        4,
        0.5,
        0.5,
        0.0,
        1.0,
    )
    assert (comparison.token_ratio, comparison.token_ratio_interval.low, comparison.token_ratio_interval.high) == (
        0.5,
        0.5,
        0.5,
    )


def test_pairing_narrows_the_interval_of_a_difference(tmp_path: Path) -> None:
    # Both runs solve the same half of the items; B solves 10 more. Unpaired, the interval would reach below 0.
    half = {str(index): index < 100 for index in range(200)}
    (comparison,) = compare_runs(
        run(tmp_path / "a", half), run(tmp_path / "b", half | {str(index): True for index in range(100, 110)})
    )
    assert comparison.difference == pytest.approx(0.05)
    assert 0 < comparison.difference_interval.low < 0.05 < comparison.difference_interval.high < 0.09
    assert comparison.p_value == pytest.approx(2 / 2**10)


def test_two_modes_of_one_run(tmp_path: Path) -> None:
    rows = [row("a", "long", turns=[turn(40)]), row("a", "short", turns=[turn(10)], solved=False), row("b", "long")]
    stored = read_run(write_run(tmp_path, rows))
    (comparison,) = compare_runs(stored, stored, "long", "short")
    assert (comparison.mode_a, comparison.mode_b, comparison.items, comparison.difference, comparison.token_ratio) == (
        "long",
        "short",
        1,
        -1.0,
        0.25,
    )
    assert comparison.missing_in_b == ("b",)
    assert [(comparison.mode_a, comparison.items) for comparison in compare_runs(stored, stored)] == [("long", 2), ("short", 1)]


def test_runs_that_cannot_be_compared_are_rejected(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", {"p": True}), run(tmp_path / "b", {"q": True})
    with pytest.raises(AutoToolError, match="no item in common"):
        compare_runs(a, b)
    with pytest.raises(AutoToolError, match=r"--mode-b: .* has no mode 'long', only auto"):
        compare_runs(a, b, "auto", "long")
    with pytest.raises(AutoToolError, match="no mode in common"):
        compare_runs(a, run(tmp_path / "c", {"p": True}, mode="long"))
    with pytest.raises(AutoToolError, match="different suites"):
        compare_runs(a, run(tmp_path / "d", {"p": True}, suite="bfcl"))


def shown(a: StoredRun, b: StoredRun, *, ids: bool, out: Path | None = None) -> str:
    console = Console(width=100, record=True, file=(a.folder / "shown").open("w"))
    compare(a.folder, b.folder, ids=ids, out=out, console=console)
    return console.export_text()


def test_ids_are_listed_on_request_and_counted_always(tmp_path: Path) -> None:
    a = run(tmp_path / "a", {"[red]p": True, **{f"gone-{index}": True for index in range(9)}})
    b = run(tmp_path / "b", {"[red]p": False})
    output = shown(a, b, ids=False)
    assert "9 only in A, left out: gone-0, gone-1, gone-2, gone-3, gone-4, 4 more" in output
    assert "[red]p" not in output
    output = shown(a, b, ids=True)
    assert "gone-8" in output
    assert "1 only A (auto) solves: [red]p" in output


@pytest.mark.parametrize("width", [80, 100])
def test_the_tables_fit_a_terminal_and_say_what_is_compared(tmp_path: Path, width: int) -> None:
    rows = [row(str(index), f"auto@{bias}", solved=index % 3 > 0) for index in range(9000) for bias in (-2, 2)]
    a, b = (write_run(tmp_path / name, rows, started="2026-11-28T10:00:00Z") for name in "ab")
    console = Console(width=width, record=True, file=(tmp_path / "shown").open("w"))
    compare(a, b, "auto@-2", "auto@2", console=console)
    output = console.export_text()
    assert max(map(len, output.splitlines())) <= width
    assert "A: a: graded, 9,000 items, model tiny, started 2026-11-28" in output
    assert "auto@-2 → auto@2   9000" in output
    assert " 66.7 %" in output
    assert " 1.000" in output


def test_the_json_holds_every_figure_and_no_infinity(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", {"p": True}, tokens=0), run(tmp_path / "b", {"p": True})
    shown(a, b, ids=False, out=tmp_path / "compare.json")
    (comparison,) = json.loads((tmp_path / "compare.json").read_text())["comparisons"]
    assert comparison["token_ratio"] is None
    assert comparison["solved"]["both"] == ["p"]
