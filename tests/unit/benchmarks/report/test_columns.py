import json
from pathlib import Path

import numpy as np
import pytest
from support.bench_runs import row, turn, write_run

from autotool_bench.report.columns import collect, read_run
from autotool_core.errors import AutoToolError

HERE = Path("run")


def test_turns_are_summed_and_a_missing_number_of_one_turn_is_missing_for_the_item() -> None:
    turns = [
        turn(10, reasoning_tokens=4, cached_tokens=1, p_long=0.7),
        turn(5, reasoning_tokens=2, resolved="short", p_long=0.1),
    ]
    columns = collect([row("a", "auto", turns=turns)], HERE).columns
    values = {
        name: columns[name][0] for name in ("generated", "reasoning", "prompt", "latency", "turns", "long_turns", "p_long")
    }
    assert values == {
        "generated": 15,
        "reasoning": 6,
        "prompt": 200,
        "latency": 2.0,
        "turns": 2,
        "long_turns": 1,
        "p_long": 0.7,
    }
    assert np.isnan(columns["cached"][0])


def test_an_item_in_error_is_not_solved_whatever_its_score() -> None:
    items = collect([row("a", "auto", error="refused"), row("b", "auto"), row("c", "auto", score=0.5)], HERE)
    assert items.columns["solved"].tolist() == [0, 1, 0]
    assert items.messages == ("refused",)
    assert items.codes("message").tolist() == [0, -1, -1]


def test_rows_are_found_by_mode_and_item() -> None:
    items = collect([row("a", "long"), row("b", "short"), row("a", "short")], HERE, order=["auto", "short", "long"])
    assert items.modes == ("short", "long")
    assert items.rows_of("short").tolist() == [1, 2]
    assert items.item_rows("short").tolist() == [2, 1]
    assert items.item_rows("long").tolist() == [0, -1]


def test_a_repeated_item_in_a_mode_is_rejected() -> None:
    with pytest.raises(AutoToolError, match="item 'a' twice in the mode 'long'"):
        collect([row("a", "long"), row("b", "long"), row("a", "long")], HERE)


@pytest.mark.parametrize(
    "broken", [{"id": "a"}, {**row("a", "long"), "turns": None}, ["no row"], {**row("a", "long"), "score": "1"}]
)
def test_an_invalid_row_is_named(broken: object) -> None:
    with pytest.raises(AutoToolError, match="run, row 2 is not a row"):
        collect([row("a", "long"), broken], HERE)  # pyright: ignore[reportArgumentType] the point of the test


def test_a_run_is_named_by_its_label_or_its_folder(tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path / "one", [row("a", "long")], label="Ours")).label == "Ours"
    assert read_run(write_run(tmp_path / "two", [row("a", "long")])).label == "two"


def test_a_folder_without_a_run_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"holds no run\.json"):
        read_run(tmp_path)
    with pytest.raises(AutoToolError, match="holds no rows"):
        read_run(write_run(tmp_path / "empty", []))
    (tmp_path / "run.json").write_text("[")
    with pytest.raises(AutoToolError, match=r"run\.json is not valid JSON"):
        read_run(tmp_path)


def test_a_torn_last_row_is_not_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [row("a", "long")])
    with (folder / "rows.jsonl").open("a") as file:
        file.write(json.dumps(row("b", "long"))[:40])
    assert read_run(folder).items.ids == ("a",)
