"""Trainer callbacks that end a run with one clear sentence instead of going on with a broken model."""

import errno
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from autotool_core.errors import AutoToolError
from autotool_core.profile import FILE_NAME, Profile


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
        if self._path.exists():
            lines = self._path.read_text().splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
            self._path.write_text("".join(f"{line}\n" for line in kept))

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
            with self._path.open("a") as out:
                out.write(json.dumps({"step": state.global_step, **logs}) + "\n")


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
def clear_disk_errors(folder: object) -> Iterator[None]:
    """Say in one sentence that the disk is full. The checkpoints before it are whole."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # safetensors and torch raise their own errors, which carry the system's words.
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise AutoToolError(f"The disk is full: free room for {folder} and run again; it goes on from there.") from error
        raise
