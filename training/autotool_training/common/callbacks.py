"""Trainer callbacks that end a run with one clear sentence instead of going on with a broken model."""

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

LITTLE_ROOM = 64 << 20
"""Bytes. A file that a writer could not finish goes, and leaves room again."""


class FiniteLoss(TrainerCallback):
    """Ends a run whose loss or gradient is not a number; the last checkpoint is left as it was."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Look at what is logged."""
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(float(value)):
                raise AutoToolError(
                    f"The {name} is not a number at step {state.global_step}: lower the learning rate and run again; "
                    f"it goes on from the last checkpoint in {args.output_dir}."
                )


class MetricsFile(TrainerCallback):
    """Writes what each step logs as a JSON line; a resumed run goes on behind the step that it resumes from."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Drop the lines of steps that a killed run had logged and not saved."""
        if not state.is_world_process_zero or not self._path.exists():
            return
        with jsonl.atomic_write(self._path) as part, jsonl.Appender(part) as out:
            for line in jsonl.read(self._path):
                if line["step"] <= state.global_step:
                    out.write(line)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Append a line."""
        if logs and state.is_world_process_zero:
            with jsonl.Appender(self._path) as out:
                out.write({"step": state.global_step, **logs})


class KeepsProfile(TrainerCallback):
    """Writes the profile into each checkpoint of a run, beside the tokenizer that is there, so that it is served as it is."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Add it to the checkpoint that was just written."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir or "") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            (folder / FILE_NAME).write_text(self._profile.model_dump_json(indent=2) + "\n")


@contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Say in one sentence that the disk is full. The checkpoints before it are whole."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if is_disk_full(error, folder):
            raise AutoToolError(f"The disk is full: free room for {folder} and run again; it goes on from there.") from error
        raise


def is_disk_full(error: Exception, folder: Path) -> bool:
    """Whether an error is that of a full disk.

    safetensors has an error of its own that carries the system's words. Torch's writer says how many bytes it missed, and
    nothing of the reason: then the disk is asked.
    """
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        return True
    is_written = folder if folder.exists() else folder.parent
    return "inline_container" in str(error) and shutil.disk_usage(is_written).free < LITTLE_ROOM
