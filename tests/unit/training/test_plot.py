import json
from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.plot import PlotRun, draw


def run(folder: Path, **metrics: list[float]) -> Path:
    folder.mkdir()
    count = max(map(len, metrics.values()))
    lines = [
        {"step": at + 1} | {name: values[at] for name, values in metrics.items() if at < len(values)} for at in range(count)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_series_is_a_running_mean(tmp_path: Path) -> None:
    steps, values = PlotRun.read(run(tmp_path / "a", accuracy=[0.0, 1.0, 0.5])).series("accuracy", 2)
    assert steps.tolist() == [2, 3]
    assert values.tolist() == [0.5, 0.75]


def test_runs_that_log_different_metrics_are_drawn_together(tmp_path: Path) -> None:
    one = run(tmp_path / "whole", accuracy=[0.1, 0.2], beta_long=[0.01, 0.02])
    other = run(tmp_path / "plain", accuracy=[0.3, 0.4], reward=[1.0, 1.0])
    draw([one, other], tmp_path / "dynamics.svg")
    picture = (tmp_path / "dynamics.svg").read_text()
    assert "<svg" in picture
    assert picture.count("<path") > 20


def test_a_folder_without_metrics_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing", run(tmp_path / "sft", loss=[0.1])):
        with pytest.raises(AutoToolError, match=r"holds no metrics\.jsonl of RL"):
            draw([folder], tmp_path / "x.svg")


def test_a_run_that_is_too_short_for_a_curve_is_named(tmp_path: Path) -> None:
    long, short = run(tmp_path / "long", accuracy=[0.5, 0.6]), run(tmp_path / "short", accuracy=[0.5])
    with pytest.raises(AutoToolError, match=r"short has the metrics of one step, and a curve needs 2: the values are in"):
        draw([long, short], tmp_path / "x.svg")
    assert not (tmp_path / "x.svg").exists()


@pytest.mark.parametrize("count", [2, 3, 5, 9, 40])
def test_a_short_run_has_a_curve_and_no_single_point(tmp_path: Path, count: int) -> None:
    steps, values = PlotRun.read(run(tmp_path / "a", accuracy=[0.5] * count)).series("accuracy", 10)
    assert len(steps) == len(values) >= 2
    assert steps[-1] == count


def test_a_picture_of_no_known_format_is_refused_and_its_folder_is_made(tmp_path: Path) -> None:
    one = run(tmp_path / "a", accuracy=[0.5, 0.6])
    with pytest.raises(AutoToolError, match=r"give it a name that ends in \.svg, \.png, \.pdf"):
        draw([one], tmp_path / "dynamics.xyz")
    with pytest.raises(AutoToolError, match="8 runs are more than there are colours"):
        draw([one] * 8, tmp_path / "dynamics.svg")
    draw([one], tmp_path / "new" / "dynamics.png")
    assert (tmp_path / "new" / "dynamics.png").stat().st_size > 1000


def test_runs_of_one_name_have_labels_of_their_own(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    runs = [PlotRun.read(run(tmp_path / name / "rl", accuracy=[0.5, 0.6])) for name in "ab"]
    assert len({one.label for one in runs}) == 2
