"""Trainer callbacks: metrics, profiles, and errors that end a run instead of training a broken model."""

import errno
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_core.profile import FILE_NAME, Profile

MIN_FREE_BYTES = 64 << 20
"""A disk with fewer free bytes counts as full: removing the file that it had no room for frees some again."""


class FiniteLoss(TrainerCallback):
    """Ends a run when its loss or gradient is not a number; the last checkpoint stays as it was."""

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Check the logged loss and gradient norm. Raises AutoToolError."""
        for name in ("loss", "grad_norm"):
            value = (event["logs"] or {}).get(name, 0.0)
            if not math.isfinite(float(value)):
                raise AutoToolError(
                    f"The {name} is not a number at step {state.global_step}: lower the learning rate and run again; "
                    f"it goes on from the last checkpoint in {args.output_dir}."
                )


class MetricsWriter(TrainerCallback):
    """Writes what each step logs as a JSON line; a resumed run continues after the step that it resumes from."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Drop the lines of steps that a killed run had logged but not saved."""
        if not state.is_world_process_zero or not self._path.exists():
            return
        with jsonl.atomic_write(self._path) as part, jsonl.Appender(part) as out:
            for line in jsonl.read(self._path):
                if line["step"] <= state.global_step:
                    out.write(line)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Append the logged values as a line."""
        if event["logs"] and state.is_world_process_zero:
            with jsonl.Appender(self._path) as out:
                out.write({"step": state.global_step, **event["logs"]})


class ProfileWriter(TrainerCallback):
    """Writes the profile into each checkpoint of a run, so that the checkpoint can be served."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write the profile into the checkpoint that was just written."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir or "") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            (folder / FILE_NAME).write_text(self._profile.model_dump_json(indent=2) + "\n")


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into an AutoToolError. Earlier checkpoints stay whole."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if is_disk_full(error, folder):
            raise AutoToolError(f"The disk is full: free room for {folder} and run again; it goes on from there.") from error
        raise


def is_disk_full(error: Exception, folder: Path) -> bool:
    """Return whether an error is that of a full disk.

    safetensors raises its own error with the system's message. Torch's writer reports missing bytes without a reason, so
    the free space of the disk decides.
    """
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        return True
    existing = folder if folder.exists() else folder.parent
    return "inline_container" in str(error) and shutil.disk_usage(existing).free < MIN_FREE_BYTES
