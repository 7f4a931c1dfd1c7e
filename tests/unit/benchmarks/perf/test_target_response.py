"""How a target is held while the traffic changes: a replayed run, and what is written of it."""

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotool_bench.perf import target_response
from autotool_bench.perf.cli import app
from autotool_bench.rows import Row, RowWriter, TurnStats
from autotool_core.errors import AutoToolError

P_LONG = {1: 0.02, 2: 0.05, 3: 0.2, 4: 0.7, 5: 0.9, 6: 0.97}


def turn(mode: str, p_long: float | None) -> TurnStats:
    tokens = 120 if mode == "long" else 30
    return TurnStats(mode, p_long, 300, 0, tokens, None, None, 1.0, (), "stop")


def recorded(folder: Path, levels: range) -> Path:
    """A run of 40 tasks a level in the three modes."""
    folder.mkdir()
    writer, rng = RowWriter(folder), random.Random(0)  # noqa: S311 not a secret
    for level in levels:
        for number in range(40):
            for mode in ("auto", "long", "short"):
                p_long = min(P_LONG[level] * rng.uniform(0.8, 1.2), 0.999) if mode == "auto" else None
                row = Row("graded", f"level-{level}", str(number), mode, 1.0, None, None, (turn(mode, p_long),), ({},), None)
                writer.write(row)
    writer.close()
    return folder


def test_a_recorded_run_is_replayed(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", range(1, 7))
    out = tmp_path / "out"
    arguments = ["target", "--target", "thinking-rate=0.3", "--simulate", str(run), "--out", str(out)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    table = [line for line in result.output.splitlines() if " to " in line]
    rates = [float(line.split("%")[0].split()[-1]) for line in table]
    assert len(rates) == 4
    assert rates[1] == pytest.approx(30, abs=8)
    assert rates[3] == pytest.approx(30, abs=8)
    answers = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(answers) == 800
    assert answers[0].keys() == asdict(target_response.Answer(True, 0.5, 0.0, 1)).keys()
    assert answers[-1]["bias"] < answers[399]["bias"] - 2
    assert "<svg" in (out / "target.svg").read_text()


def test_a_run_without_all_levels(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", range(1, 5))
    with pytest.raises(AutoToolError, match="no items of level-5 with the modes auto, long and short"):
        target_response.simulate("tokens=50", 10, 1, tmp_path / "out", run)


def test_a_text_that_is_no_target(tmp_path: Path) -> None:
    arguments = ["target", "--target", "thinking-rate=9", "--out", str(tmp_path)]
    with pytest.raises(AutoToolError, match="--target: thinking-rate must be a share"):
        CliRunner().invoke(app, arguments, catch_exceptions=False, standalone_mode=False)
