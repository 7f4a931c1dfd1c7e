"""Services that metrics are sent to. What reaches them: tests/integration/training/test_run.py."""

from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.common import trackers
from autotool_training.common.trackers import tracker_arguments


def test_without_a_service_only_the_files_of_tensorboard_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracker_arguments([], Path("runs/company/rl")) == {"report_to": "none", "run_name": "company/rl"}
    assert tracker_arguments([], Path("rl"))["run_name"] == f"{tmp_path.name}/rl"


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_service_that_is_not_installed_is_named_with_the_command_that_installs_it(
    name: trackers.Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(AutoToolError, match=f"{name} is not installed: `pip install {name}`"):
        tracker_arguments([name], Path("rl"))
