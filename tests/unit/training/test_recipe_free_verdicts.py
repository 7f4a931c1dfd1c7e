"""Tests of the verdicts, the gate and the report of the graded-free runs, with made-up measurements."""

import fnmatch
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graded_free_gate as gate
import graded_free_points as points
import graded_free_rare as rare
import graded_free_report as report
import graded_free_verdicts as verdicts
from autotool_core.errors import AutoToolError
from autotool_core.graded import LEVELS

TASKS = 20
"""Tasks of each level."""
START: dict[str, Any] = {"entropy": 0.4, "think": 100.0, "long": 12, "short": 4, "cut": 0, "p_long": 0.9}
"""Figures of a checkpoint; `long`, `short` and `cut` are numbers of tasks of each level."""
# Each arm as it is where every hypothesis holds. The seeds of plain GRPO differ by 0.01 nats and two tokens.
ENDS: dict[str, dict[str, Any]] = {
    **{f"grpo-{seed}": {"entropy": 0.12 + seed / 200, "think": 60.0 + seed} for seed in (0, 1, 2)},
    **{f"autotool-{seed}": {"entropy": 0.38, "think": 98.0, "long": 15} for seed in (0, 1, 2)},
    "grpo-2e-4-0": {},
    "static-beta-0.005-0": {"entropy": 0.2, "think": 70.0},
    "static-beta-0.05-0": {"entropy": 0.28, "think": 80.0},
    "static-beta-0.5-0": {"entropy": 0.38, "think": 98.0},
    "no-decoupling-0": {"short": 2},
    "length-bonus-0": {"entropy": 0.12, "think": 150.0},
}
Changes = dict[str, dict[str, Any]]
"""Changed figures, by a pattern of run names; `start` and `middle` are those of other steps, `logged` is `entropy/long`.

`steps` is the number of steps, of which 100 is the default.
"""


def line(step: int, figures: dict[str, Any]) -> str:
    """Return a line of a measured file."""
    held = START | figures
    count = len(LEVELS) * TASKS
    tasks = [number % TASKS for number in range(count)]
    entropies = [None if task < held["cut"] else held["entropy"] for task in tasks]
    values = {
        "level": [level for level in LEVELS for _ in range(TASKS)],
        "p_long": [held["p_long"]] * count,
        "think_tokens": [held["think"]] * count,
        "entropy_short": [0.1] * count,
        "entropy_long": entropies,
        "entropy_think": entropies,
    }
    rights = {f"right_{mode}": [int(task < held[mode]) for task in tasks] for mode in ("long", "short")}
    return json.dumps({"step": step, **values, **rights, "sampled_right_long": rights["right_long"]}) + "\n"


def write(folder: Path, changes: Changes, split: str = "test") -> Path:
    """Write runs that are complete, with the changes, and return the folder."""
    extra = {name: ENDS[f"{points.arm_of(name)}-0"] for name in changes if name in points.MORE_RUNS}
    for name, end in (ENDS | extra).items():
        change: dict[str, Any] = {}
        for pattern, changed in changes.items():
            change |= changed if fnmatch.fnmatch(name, pattern) else {}
        change = dict(change)
        first, middle, steps = (change.pop(key, default) for key, default in (("start", {}), ("middle", {}), ("steps", 100)))
        logged = {"entropy/long": change.pop("logged", 0.39), "beta_long": change.pop("beta", 0.01), "thinking_rate": 0.5}
        (folder / name).mkdir()
        lines = [line(0, first), line(steps // 2, middle), line(steps, end | change)]
        (folder / name / f"measured-{split}.jsonl").write_text("".join(lines))
        metrics = "".join(json.dumps({"step": step, **logged}) + "\n" for step in range(1, steps + 1))
        (folder / name / "metrics.jsonl").write_text(metrics)
        (folder / name / "targets.json").write_text(json.dumps({"short": 0.1, "long": 0.4, "shared": 0.3}))
        (folder / name / "run.json").write_text(json.dumps({"settings": {"objective": {"beta_cap": 0.1}, "steps": steps}}))
    return folder


def decided(folder: Path, changes: Changes) -> dict[str, verdicts.Verdict]:
    """Return the verdicts by the first word of their hypothesis."""
    runs = points.read_runs(write(folder, changes), "test")
    return {verdict.hypothesis.split()[0]: verdict for verdict in verdicts.verdicts(runs)}


def test_every_hypothesis_can_hold(tmp_path: Path) -> None:
    held = decided(tmp_path, {})
    assert list(held) == ["1a", "1b", "1c", "1", "2", "3", "4", "5", "6", "control:"]
    assert {verdict.outcome for verdict in held.values()} == {"holds"}
    assert held["1a"].figures == "kept 30, 31, 32 %; in the think block 30, 31, 32 %"
    assert held["3"].figures.startswith("in auto +15.0 (")


@pytest.mark.parametrize(
    ("fails", "changes"),
    [
        ("1a 1", {"grpo-1": {"entropy": 0.21}}),
        ("1b 1", {"grpo-2": {"think": 71.0}}),
        ("1c 1", {"grpo-0": {"long": 18}, "autotool-*": {"long": 20}}),
        ("2", {"autotool-1": {"logged": 0.31}}),
        ("2", {"autotool-1": {"logged": 0.49}}),
        ("2", {"autotool-2": {"think": 89.0}}),
        # One seed is below plain GRPO, though the mean is above.
        ("3", {"autotool-2": {"long": 11}}),
        # The decision alone is better.
        ("3 6", {"autotool-*": {"long": 12, "start": {"long": 10}}, "grpo-*": {"p_long": 0.1, "middle": {"long": 10}}}),
        # Plain GRPO was as good at half of the steps, or the start was.
        ("3", {"grpo-?": {"middle": {"long": 15}}}),
        ("3", {"autotool-*": {"start": {"long": 15}}}),
        ("4", {"static-beta-0.05-0": {"entropy": 0.18}}),
        ("4", {"static-beta-0.05-0": {"think": 67.0}}),
        ("4", {"static-beta-*": {"entropy": 0.12}}),
        ("5", {"no-decoupling-0": {"short": 4}}),
        ("6", {"length-bonus-0": {"long": 15}}),
        ("control:", {"grpo-2e-4-0": {"long": 15}}),
    ],
)
def test_each_hypothesis_can_fail(fails: str, changes: Changes, tmp_path: Path) -> None:
    outcomes = {name: verdict.outcome for name, verdict in decided(tmp_path, changes).items()}
    assert outcomes == {name: "fails" if name in fails.split() else "holds" for name in outcomes}


@pytest.mark.parametrize(
    ("diverged", "run"),
    [("1a 1b 1c 1 3", "grpo-1"), ("2 3 5 6 control:", "autotool-0"), ("5", "no-decoupling-0"), ("6", "length-bonus-0")],
)
def test_a_run_with_more_than_a_twentieth_of_cut_answers_is_named_and_is_no_evidence(
    diverged: str, run: str, tmp_path: Path
) -> None:
    held = decided(tmp_path, {run: {"cut": 2}})
    assert {name for name, verdict in held.items() if verdict.outcome == "diverged"} == {*diverged.split()}
    assert all(f"{run} diverged" in held[name].figures for name in diverged.split())


def test_one_cut_answer_in_twenty_is_no_divergence(tmp_path: Path) -> None:
    assert {verdict.outcome for verdict in decided(tmp_path, {"*": {"cut": 1}}).values()} == {"holds"}


def test_a_diverged_dose_is_left_out(tmp_path: Path) -> None:
    verdict = decided(tmp_path, {"static-beta-0.5-0": {"cut": 20, "think": 256.0}})["4"]
    assert verdict.outcome == "holds"
    assert "static-beta-0.5-0 diverged; entropy_long 0.12, 0.2, 0.28 (" in verdict.figures


def test_without_the_first_dose_nothing_is_decided(tmp_path: Path) -> None:
    assert decided(tmp_path, {"grpo-0": {"cut": 2}})["4"].outcome == "diverged"


def test_a_dose_may_be_below_the_one_before_it_by_what_the_seeds_differ(tmp_path: Path) -> None:
    assert decided(tmp_path, {"static-beta-0.005-0": {"entropy": 0.115, "think": 58.5}})["4"].outcome == "holds"


def test_the_cap_is_named_as_the_cause(tmp_path: Path) -> None:
    figures = decided(tmp_path, {"autotool-0": {"logged": 0.1, "beta": 0.1}})["2"].figures
    assert "cause: β_l at its cap for 100 steps" in figures


NOISY: Changes = {"grpo-1": {"short": 7}}


def test_a_difference_within_the_noise_of_the_seeds_needs_more_seeds(tmp_path: Path) -> None:
    verdict = decided(tmp_path, NOISY)["5"]
    assert verdict.outcome == "more seeds"
    assert "seeds differ by 15.0; last steps of the coupled arm: β 0.01 at a thinking rate of 0.50" in verdict.figures


@pytest.mark.parametrize(("short", "outcome"), [(2, "holds"), (8, "fails")])
def test_with_all_seeds_the_means_count(short: int, outcome: str, tmp_path: Path) -> None:
    changes = NOISY | {f"no-decoupling-{seed}": {"short": short} for seed in (1, 2)}
    assert decided(tmp_path, changes)["5"].outcome == outcome


def test_the_report_has_verdicts_tables_and_a_figure(tmp_path: Path) -> None:
    report.main("test", str(write(tmp_path, {})), str(tmp_path / "report"))
    text = (tmp_path / "report.md").read_text()
    assert "| 1 collapse (the precondition) | holds | 1a, 1b and 1c together |" in text
    assert "| grpo-0 | 0.12 (30 %) | 0.12 (30 %) | 0.1 (100 %) | 60 (60 %) | 0.0 |" in text
    assert "- hard_sampled: +15.0 (" in text
    assert "by seed +15.0, +15.0, +15.0" in text
    assert (tmp_path / "report.svg").stat().st_size > 1000


def test_runs_that_are_not_complete_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, {})
    measured = tmp_path / "grpo-1" / "measured-test.jsonl"
    measured.write_text("".join(measured.read_text().splitlines(keepends=True)[:2]))
    (tmp_path / "autotool-0" / "targets.json").unlink()
    (tmp_path / "length-bonus-0" / "metrics.jsonl").unlink()
    (tmp_path / "no-decoupling-2").mkdir()
    with pytest.raises(AutoToolError) as error:
        report.main("test", str(tmp_path), str(tmp_path / "report"))
    for part in ("grpo-1 (step 100 is not measured on test)", "autotool-0 (no targets.json)", "length-bonus-0 (step 100 is"):
        assert part in str(error.value)
    assert "no-decoupling-2 (step 0 is not measured on test, " in str(error.value)
    assert "grpo-0" not in str(error.value)
    assert not (tmp_path / "report.md").exists()


def test_longer_runs_are_judged_by_their_last_step(tmp_path: Path) -> None:
    held = decided(tmp_path, {"*": {"steps": 200}, "grpo-?": {"steps": 200, "middle": {"long": 15}}})
    assert {name for name, verdict in held.items() if verdict.outcome != "holds"} == {"3"}
    assert held["1a"].figures.startswith("kept 30, 31, 32 %")


def test_runs_of_different_numbers_of_steps_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"different numbers of steps, .*: grpo-0 200, grpo-1 100"):
        decided(tmp_path, {"grpo-0": {"steps": 200}})


def test_the_interval_of_equal_answers_is_zero_and_tasks_without_a_value_do_not_count() -> None:
    level, gaps = np.array([5.0, 5, 6, 6, 1]), np.array([1.0, 0, 1, 0, np.nan])
    one, none = (points.Point({"level": level, "right": values}) for values in (gaps, np.zeros(5)))
    assert points.gap([one], [one], "right") == points.Gap(0, 0, 0, (0,))
    assert points.gap([one], [none], "right") == points.Gap(50, 0, 100, (50,))


def measured_start(folder: Path, figures: dict[str, Any]) -> Path:
    """Write what was measured of a start, and return its folder."""
    (folder / "sft-0").mkdir()
    (folder / "sft-0" / "measured-dev.jsonl").write_text(line(0, figures))
    return folder


def test_a_start_within_all_ranges_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.main("start", str(measured_start(tmp_path, {}))) == 0
    out = capsys.readouterr().out
    assert out.count("| pass |") == 4
    assert "The start passes." in out


@pytest.mark.parametrize(
    ("figures", "title", "remedy"),
    [
        ({"entropy": 0.29}, "H_long", "sft.learning_rate"),
        ({"entropy": 0.51}, "H_long", "task_steps=3000"),
        ({"long": 9}, "right long", "task_steps=3000, and base.scratch.practice.long_every=1"),
        ({"long": 19}, "right long", "task_steps=1400"),
        ({"short": 7}, "right short", "long_every=1"),
        ({"cut": 1}, "long answers cut", "task_steps=3000"),
    ],
)
def test_a_start_outside_a_range_fails_with_a_remedy(
    figures: dict[str, Any], title: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.main("start", str(measured_start(tmp_path, figures))) == 1
    (row,) = (text for text in capsys.readouterr().out.splitlines() if "| fail |" in text)
    assert row.startswith(f"| {title}")
    assert remedy in row


def test_a_start_that_is_not_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="is not measured on dev"):
        gate.main("start", str(tmp_path))


@pytest.mark.parametrize(
    ("change", "status"), [({}, 0), ({"entropy": 0.3}, 1), ({"think": 80.0}, 1), ({"long": 18}, 1), ({"cut": 2}, 1)]
)
def test_the_gate_accepts_a_world_in_which_plain_grpo_collapses(
    change: dict[str, Any], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.main("gate", str(write(tmp_path, {"grpo-0": change}, "dev"))) == status
    assert ("The world is accepted" in capsys.readouterr().out) == (status == 0)


def test_the_gate_refuses_a_run_that_has_not_ended(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match=r"grpo-0 \(step 0 is not measured on dev"):
        gate.main("gate", str(tmp_path))


RARELY: dict[str, Any] = {"p_long": 0.01, "long": 12, "short": 4}
ARMS: Changes = {"rare-grpo": {"p_long": 0.02}, "rare-halved": {"p_long": 0.8}, "rare-think-reward": {"p_long": 0.03}}


@pytest.mark.parametrize(
    ("fails", "changes"),
    [
        ((), {}),
        (("the start hardly ever thinks",), {"start": {"p_long": 0.03}}),
        (("plain GRPO does not find it",), {"rare-grpo": {"p_long": 0.1}}),
        (("halved groups find it",), {"rare-halved": {"p_long": 0.2}}),
        # It thinks, and is hardly better for it.
        (("halved groups find it",), {"rare-halved": {"long": 5}}),
        (("the think reward alone does not",), {"rare-think-reward": {"p_long": 0.1}}),
    ],
)
def test_each_expectation_of_a_rare_mode_can_fail(
    fails: tuple[str, ...], changes: Changes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, end in ARMS.items():
        (tmp_path / name).mkdir()
        points_of = [RARELY | changes.get("start", {}), RARELY, RARELY | end | changes.get(name, {})]
        lines = [line(step, figures) for step, figures in zip((0, 50, 100), points_of, strict=True)]
        (tmp_path / name / "measured-dev.jsonl").write_text("".join(lines))
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps({"step": 100}) + "\n")
        (tmp_path / name / "run.json").write_text(json.dumps({"settings": {"steps": 100}}))
    rare.main(str(tmp_path))
    out = capsys.readouterr().out
    rows = [text.split(" | ") for text in out.splitlines() if " | holds | " in text or " | fails | " in text]
    assert len(rows) == 4
    assert {row[0].removeprefix("| ") for row in rows if row[1] == "fails"} == {*fails}
    assert out.count("rare-halved, step") == 2
