"""`autotool bench perf start` with a real server of a tiny model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotool_bench import cli
from autotool_bench.perf import start
from autotool_bench.perf.start import KINDS, Start

TINY = Path(__file__).parents[4] / "training/checkpoints/graded-tiny"


def test_each_kind_is_sent_several_times_after_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "REQUESTS", 3)
    out = tmp_path / "start.json"
    arguments = ["perf", "start", "--rounds", "1", "--out", str(out), "--model", str(TINY)]
    done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert "1 starts of the transformers engine" in done.output
    [seconds] = json.loads(out.read_text())["seconds"]
    assert {kind: len(times) for kind, times in seconds["requests"].items()} == dict.fromkeys(KINDS, 3)
    assert 0 < seconds["ready"] < seconds["first answer"]


def test_the_first_request_is_compared_with_the_last_five() -> None:
    measured = Start(1, 2, {"auto": [3, 9, 9, 9, 9, 1, 2, 2, 2, 100]})
    assert measured.ratio("auto") == 1.5
