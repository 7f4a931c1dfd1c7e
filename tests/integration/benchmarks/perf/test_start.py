"""`autotool bench perf start` with a real server of a tiny model."""

import json
from pathlib import Path

from typer.testing import CliRunner

from autotool_bench import cli
from autotool_bench.perf.start import KINDS, REQUESTS, Start

TINY = Path(__file__).parents[4] / "training/checkpoints/graded-tiny"


def test_each_kind_is_sent_ten_times_after_a_start(tmp_path: Path) -> None:
    out = tmp_path / "start.json"
    arguments = ["perf", "start", "--rounds", "1", "--out", str(out), "--model", str(TINY)]
    done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert "1 starts of the transformers engine" in done.output
    [seconds] = json.loads(out.read_text())["seconds"]
    assert {kind: len(times) for kind, times in seconds["requests"].items()} == dict.fromkeys(KINDS, REQUESTS)
    assert 0 < seconds["ready"] < seconds["first answer"]


def test_the_first_request_is_compared_with_the_last_five() -> None:
    start = Start(1, 2, {"auto": [3, 9, 9, 9, 9, 1, 2, 2, 2, 100]})
    assert start.ratio("auto") == 1.5
