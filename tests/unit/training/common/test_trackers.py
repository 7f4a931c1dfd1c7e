"""Services that metrics are sent to."""

from importlib.util import find_spec

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.common.trackers import tracker_arguments


def test_without_a_service_only_the_files_of_tensorboard_are_written() -> None:
    assert tracker_arguments([], "rl") == {"report_to": "none", "run_name": "rl"}


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_service_that_is_not_installed_is_named_with_the_command_that_installs_it(name: str) -> None:
    if find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(AutoToolError, match=f"{name} is not installed: `pip install {name}`"):
        tracker_arguments([name], "rl")  # pyright: ignore[reportArgumentType]
