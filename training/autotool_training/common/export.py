"""The end of a training stage: one checkpoint, written once, however the run is distributed over devices."""

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from peft import PeftModel

from autotool_core.errors import AutoToolError
from autotool_training.common.checkpoint import Checkpoint, load_checkpoint
from autotool_training.common.loading import LoadSettings
from autotool_training.common.lora import merged_weights, save_and_merge

WHOLE_WEIGHTS = frozenset({DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU})
"""Where every process has all weights, and they are those that are trained."""


def reject_sharded_adapter(trainer: Any) -> None:
    """Raise AutoToolError before training if an adapter's base is sharded, since `write_trained` could not merge it."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    zero3 = plugin is not None and plugin.zero_stage == 3
    if hasattr(trainer.model, "merge_and_unload") and (zero3 or trainer.accelerator.distributed_type == DistributedType.FSDP):
        raise AutoToolError(
            "LoRA cannot be merged into weights that ZeRO-3 or FSDP shards: launch with ZeRO-2 or plain data parallel, or "
            "leave sft.lora and rl.lora out of the recipe, which trains all weights."
        )


def reject_several_gpus(args: Any) -> None:
    """Raise AutoToolError if a process that was not launched for one GPU sees several, which TRL refuses."""
    if args.n_gpu > 1:
        raise AutoToolError(
            f"This process sees {args.n_gpu} GPUs: launch SFT and RL by accelerate (`--launch` of `autotool train run`), and "
            "show one GPU to any other stage (CUDA_VISIBLE_DEVICES=0); `refine.rounds = 0` trains nothing in refine."
        )


def train_in_float32(trainer: Any, base: Checkpoint) -> None:
    """Give LoRA's weights on a base of 4 bits float32, which TRL makes bfloat16: many of RL's steps would be rounded away."""
    if _in_4bit(base):
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()


def reject_half_training(trainer: Any) -> None:
    """Raise AutoToolError before training if all weights were trained in bfloat16, which most steps are too small for."""
    if hasattr(trainer.model, "merge_and_unload") or trainer.accelerator.distributed_type not in WHOLE_WEIGHTS:
        return
    if trainer.model.dtype == torch.bfloat16:
        raise AutoToolError(
            "base.dtype=bfloat16 rounds the steps of a training of all weights away: set sft.lora and rl.lora, or leave "
            'base.dtype as it is and set precision = "bfloat16" (mixed precision).'
        )


def reject_sharded_decoding(trainer: Any) -> None:
    """Raise AutoToolError before training if transformers would decode with weights that FSDP shards.

    Each token takes a pass that all processes make together, and their answers end after different numbers of tokens.
    """
    if trainer.accelerator.distributed_type == DistributedType.FSDP and not trainer.use_vllm:
        raise AutoToolError(
            "FSDP shards the weights that rl.rollouts=transformers decodes with: set rl.rollouts to vllm or vllm-server, or "
            "launch with DeepSpeed's ZeRO or plain data parallel."
        )


def write_trained(trainer: Any, base: Checkpoint, out: Path) -> Checkpoint:
    """Write the trained model into a folder, with an adapter merged into its base.

    Every process of the run must call it: sharded weights are gathered, and the first process writes.
    """
    is_adapter = hasattr(trainer.model, "merge_and_unload")
    weights = None if is_adapter or _is_unwrapped(trainer) else _gathered(trainer, base)
    trained = base
    if trainer.accelerator.is_main_process:
        trained = Checkpoint(_merged(trainer, base, out / "adapter"), base.tokenizer, base.profile)
        trained.save(out, weights)
    trainer.accelerator.wait_for_everyone()
    return trained


def _merged(trainer: Any, base: Checkpoint, adapter: Path) -> Any:
    """Write the adapter, if there is one, and return the model with it merged; one of 4 bits into the base as it was before."""
    if not _in_4bit(base):
        return save_and_merge(trainer.model, adapter)
    trainer.model.save_pretrained(adapter)
    loading = LoadSettings(dtype="bfloat16" if base.model.dtype == torch.bfloat16 else "float32")
    whole = load_checkpoint(str(base.model.name_or_path), loading=loading)
    return PeftModel.from_pretrained(whole.model, str(adapter)).merge_and_unload()


def _in_4bit(base: Checkpoint) -> bool:
    return getattr(base.model, "is_loaded_in_4bit", False)


def write_current(trainer: Any, base: Checkpoint, out: Path) -> None:
    """Write the model of a run that goes on into a folder that can be served, with an adapter merged into its base.

    Every process of the run must call it, as for `write_trained`.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    is_adapter = hasattr(model, "merge_and_unload")
    weights = None if is_adapter else _gathered(trainer, base)
    if trainer.accelerator.is_main_process:
        if _in_4bit(base):
            model = _merged(trainer, base, out / "adapter")
        elif is_adapter:
            weights = {name: weight.to("cpu", copy=True) for name, weight in merged_weights(model)}
            model = model.get_base_model()
        Checkpoint(model, base.tokenizer, base.profile).save(out, weights)
    trainer.accelerator.wait_for_everyone()


def _gathered(trainer: Any, base: Checkpoint) -> dict[str, Any]:
    """Return the weights that the processes share out, tied ones once: FSDP gives each of their names a copy."""
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.accelerator.is_main_process:
        return {}
    return {name: weight for name, weight in weights.items() if name not in base.model.all_tied_weights_keys}


def _is_unwrapped(trainer: Any) -> bool:
    """Return whether nothing wraps the model, whose own weights are then complete.

    DeepSpeed wraps the model at the first step, so that it is unwrapped in a run whose steps were already made and which only
    writes its result; DeepSpeed gathers weights of wrapped models alone. With FSDP the trainer's `model` is the wrapped one.
    """
    return trainer.model_wrapped is trainer.model and not trainer.is_fsdp_enabled
