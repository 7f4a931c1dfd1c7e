"""The end of a training stage: one checkpoint, written once, whichever way the run was spread over devices."""

from pathlib import Path
from typing import Any

from autotool_training.checkpoint import Checkpoint
from autotool_training.lora import merged


def write_trained(trainer: Any, base: Checkpoint, out: Path) -> Checkpoint:
    """Write what a trainer has trained into a folder, an adapter merged into its base.

    Every process of the run must call it: weights that are sharded over them are gathered, and the first one writes.
    """
    is_adapter = hasattr(trainer.model, "merge_and_unload")
    weights = None if is_adapter else trainer.accelerator.get_state_dict(trainer.model_wrapped)
    trained = base
    if trainer.accelerator.is_main_process:
        trained = Checkpoint(merged(trainer.model, out / "adapter"), base.tokenizer, base.profile)
        trained.save(out, weights)
    trainer.accelerator.wait_for_everyone()
    return trained
