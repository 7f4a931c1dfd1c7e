"""How far a run is, while it trains: a bar in a terminal, a sentence now and then elsewhere, and curves in TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from torch.utils.tensorboard.writer import SummaryWriter
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import TensorBoardCallback

from autotool_core.console import plain_console
from autotool_core.progress import progress_bar

CURVES = "tensorboard"
"""The folder of a run that has the curves: `tensorboard --logdir RUN`."""
SENTENCES = 10
"""The number of sentences of a run without a terminal."""
METRICS: Mapping[str, str] = {
    "loss": "loss {:.3f}",
    "reward": "reward {:.2f}",
    "accuracy": "{:.0%} right",
    "thinking_rate": "{:.0%} long",
}
"""The metrics that are shown, if a run logs them, and their form."""


class Curves(TensorBoardCallback):
    """Writes the metrics for TensorBoard into a folder of the run."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        # Whatever TENSORBOARD_LOGGING_DIR says: in one folder for all runs the curves of one would hide another's.
        self.logging_dir = str(run / CURVES)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Open the folder, without the steps that a killed run had logged but not saved."""
        if state.is_world_process_zero:
            self.tb_writer = SummaryWriter(self.logging_dir, purge_step=state.global_step + 1)
        super().on_train_begin(args, state, control, **event)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **event: Any
    ) -> None:
        """Write the values that there are: TRL logs None for some, for which the callback would warn at every step."""
        there = {name: value for name, value in (logs or {}).items() if value is not None}
        super().on_log(args, state, control, logs=there, **event)


class StepProgress(TrainerCallback):
    """Shows the step and the latest metrics of a run on standard error. The trainer's own output has every metric of a step."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or plain_console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the bar."""
        if state.is_world_process_zero and self._console.is_terminal:
            self._bar = progress_bar(self._console)
            self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step)
            self._bar.start()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """Show the step and its metrics. The last log of a run has none of them."""
        logs: Mapping[str, Any] = event["logs"] or {}
        shown = [form.format(float(logs[name])) for name, form in METRICS.items() if name in logs]
        if not shown or not state.is_world_process_zero:
            return
        metrics = ", ".join(shown)
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, description=metrics)
        elif _is_tenth(state.global_step, state.max_steps):
            sentence = f"Step {state.global_step} of {state.max_steps}: {metrics}."
            self._console.print(sentence)

    def stop(self) -> None:
        """End the bar, which hides the terminal's cursor."""
        if self._bar is not None:
            self._bar.stop()


def _is_tenth(step: int, steps: int) -> bool:
    """Return whether a step is the first of a tenth of the steps, or the last one."""
    return step == steps or (step * SENTENCES) // steps > ((step - 1) * SENTENCES) // steps


@contextmanager
def shown_steps(trainer: Trainer) -> Iterator[None]:
    """Show the steps of a trainer in place of its own output, a dictionary of all metrics for every step."""
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    progress = StepProgress()
    trainer.add_callback(progress)
    try:
        yield
    finally:
        progress.stop()
