"""The end of a training stage: one checkpoint, written once, whichever way the run was spread over devices."""

from pathlib import Path
from typing import Any

from accelerate.utils import DistributedType

from autotool_core.errors import AutoToolError
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.lora import merged


def refuse_sharded_adapter(trainer: Any) -> None:
    """Raise AutoToolError, before a step is made, for an adapter whose base is sharded: `write_trained` could not merge it."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    zero3 = plugin is not None and plugin.zero_stage == 3
    if hasattr(trainer.model, "merge_and_unload") and (zero3 or trainer.accelerator.distributed_type == DistributedType.FSDP):
        raise AutoToolError(
            "LoRA cannot be merged into weights that ZeRO-3 or FSDP shards: launch with ZeRO-2 or plain data parallel, or "
            "leave sft.lora and rl.lora out of the recipe, which trains all weights."
        )


def write_trained(trainer: Any, base: Checkpoint, out: Path) -> Checkpoint:
    """Write what a trainer has trained into a folder, an adapter merged into its base.

    Every process of the run must call it: weights that are sharded over them are gathered, and the first one writes.
    """
    is_adapter = hasattr(trainer.model, "merge_and_unload")
    weights = None if is_adapter or _is_plain(trainer) else trainer.accelerator.get_state_dict(trainer.model_wrapped)
    trained = base
    if trainer.accelerator.is_main_process:
        trained = Checkpoint(merged(trainer.model, out / "adapter"), base.tokenizer, base.profile)
        trained.save(out, weights)
    trainer.accelerator.wait_for_everyone()
    return trained


def _is_plain(trainer: Any) -> bool:
    """Whether nothing wraps the model, whose own weights are then the whole ones.

    With DeepSpeed too it is plain where a run whose steps were done is only written: a step is what wraps it, and DeepSpeed's
    way to gather weights needs that. With FSDP the trainer's `model` is the wrapped one.
    """
    return trainer.model_wrapped is trainer.model and not trainer.is_fsdp_enabled
