"""Services that the metrics of a run are sent to, by the integrations of transformers."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

from autotool_core.errors import AutoToolError

Tracker = Literal["wandb", "trackio"]


def tracker_arguments(trackers: Sequence[Tracker], out_name: str) -> dict[str, Any]:
    """Return the arguments of TrainingArguments for a run of that name. Raises AutoToolError if a package is not installed."""
    for name in trackers:
        if find_spec(name) is None:
            raise AutoToolError(f"report_to: {name} is not installed: `pip install {name}`, or leave it out.")
    # TensorBoard's files, which every run has, are written by `common.progress.Curves`.
    return {"report_to": list(trackers) or "none", "run_name": out_name}
