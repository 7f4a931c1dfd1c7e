"""Services that the metrics of a run are sent to, by the integrations of transformers."""

import sys
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from autotool_core.errors import AutoToolError

Tracker = Literal["wandb", "trackio"]


def tracker_arguments(trackers: Sequence[Tracker], run: Path) -> dict[str, Any]:
    """Return the arguments of TrainingArguments for a run in a folder. Raises AutoToolError if a package is not installed.

    The run's name there is that of its folder and of the one around it, as in `company/rl`: trackio goes on with a run of the
    same name, and every run of `autotool train run` has its RL in a folder `rl`.
    """
    for name in trackers:
        if find_spec(name) is None:
            raise AutoToolError(f"report_to: {name} is not installed: `pip install {name}`, or leave it out.")
    # TensorBoard's files, which every run has, are written by `common.progress.Curves`.
    return {"report_to": list(trackers) or "none", "run_name": "/".join(run.resolve().parts[-2:])}


def finish_trackers(trackers: Collection[str]) -> None:
    """End the run in W&B, which transformers leaves open: the next stage of this process would go on in it."""
    if "wandb" in trackers:
        sys.modules["wandb"].finish()  # transformers has imported it
