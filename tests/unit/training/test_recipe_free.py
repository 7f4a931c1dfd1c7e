"""Tests of the measurements and the report of the graded-free runs, with a tiny random model and made-up measurements."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.training import SIZES

from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS, generate
from autotool_training import scratch
from autotool_training.data.sources import graded

FOLDER = Path(__file__).parents[3] / "training" / "recipes"
MEASURE = runpy.run_path(str(FOLDER / "graded_free_measure.py"))
REPORT = runpy.run_path(str(FOLDER / "graded_free_report.py"))
LISTS = ("right_long", "right_short", "entropy_long", "entropy_short", "sampled_right_long", "think_tokens", "p_long", "level")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run without steps."""
    folder = tmp_path_factory.mktemp("run") / "sft-0"
    scratch.make(SIZES, seed=0).save(folder)
    return folder


def test_every_task_has_its_figures(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_TOKENS", "BATCH"):
        monkeypatch.setitem(MEASURE["main"].__globals__, name, 12)
    monkeypatch.setitem(MEASURE["main"].__globals__, "TASKS", dict.fromkeys(LEVELS, 1))
    for _ in range(2):
        MEASURE["main"]("dev", str(run))
    (line,) = (json.loads(text) for text in (run / "measured-dev.jsonl").read_text().splitlines())
    assert line["step"] == 0
    assert {len(line[name]) for name in LISTS} == {len(LEVELS)}
    assert line["level"] == list(LEVELS)
    assert all(0 < share < 1 for share in line["p_long"])
    # Nothing that a random model writes ends within so few tokens, and no answer to a task of the train split is asked for.
    assert set(line["entropy_long"]) == {None}
    assert graded.record(next(generate("dev", 1))).id.startswith("graded/dev")


def test_a_run_of_rl_has_its_start_and_every_fiftieth_step(run: Path, tmp_path: Path) -> None:
    held = {"stage": "rl", "base": str(run)}
    (tmp_path / "run.json").write_text(json.dumps(held))
    for step in (10, 50, 100):
        (tmp_path / "steps" / f"checkpoint-{step}").mkdir(parents=True)
    steps = dict(MEASURE["checkpoints"](tmp_path))
    assert list(steps) == [0, 50, 100]
    assert steps[0] is None
    with pytest.raises(AutoToolError, match="is not measured: name it before"):
        MEASURE["start"](tmp_path, "test")


def measured(right: int, entropy: float) -> list[dict[str, Any]]:
    tasks = [level for level in LEVELS for _ in range(20)]
    line: dict[str, Any] = {"level": tasks, "p_long": [0.9] * len(tasks), "right_short": [0] * len(tasks)}
    line |= {"right_long": [int(number % 20 < right) for number in range(len(tasks))], "entropy_short": [0.1] * len(tasks)}
    ends = [(0, 0.4), (100, entropy)]
    return [{"step": step, "entropy_long": [h, None] * 60, "think_tokens": [250 * h] * len(tasks), **line} for step, h in ends]


def test_the_report_has_what_was_kept_and_the_paired_difference(tmp_path: Path) -> None:
    for arm, right, entropy in (("grpo", 10, 0.1), ("autotool", 15, 0.38)):
        for seed in (0, 1):
            folder = tmp_path / f"{arm}-{seed}"
            folder.mkdir()
            lines = [json.dumps(line) for line in measured(right + seed, entropy)]
            (folder / "measured-test.jsonl").write_text("".join(f"{line}\n" for line in lines))
    REPORT["main"]("test", str(tmp_path), str(tmp_path / "report"))
    text = (tmp_path / "report.md").read_text()
    assert "| grpo-0 | 100 | 0.1 (25 %) | 0.1 (100 %) | 25 (25 %) |" in text
    assert "| autotool-1 | 100 | 0.38 (95 %)" in text
    assert "hard_auto: +25.0 (" in text
    assert "by seed +25.0, +25.0" in text
    assert (tmp_path / "report.svg").stat().st_size > 1000


def test_the_interval_of_equal_answers_is_zero_and_tasks_without_a_value_do_not_count() -> None:
    level, gaps = np.array([5.0, 5, 6, 6, 1]), np.array([1.0, 0, 1, 0, np.nan])
    assert REPORT["difference"](gaps, gaps, level) == (0, 0, 0)
    value, low, high = REPORT["difference"](gaps, np.zeros(5), level)
    assert (value, low, high) == (50, 0, 100)


def test_a_folder_without_measurements_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="holds no run with measured-test"):
        REPORT["main"]("test", str(tmp_path), str(tmp_path / "report"))
