"""The reference model of the KL term: the checkpoint that RL starts from, kept as it is.

With LoRA there is none, because TRL switches the adapter off.
"""

from typing import Any

from trl.models.utils import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import add_fused_lm_head

from autotool_training.common.prefix_sharing import enable


def prepare_reference(trainer: Any, reference: Any, *, share: bool) -> Any:
    """Return a copy of the base as TRL 1.16 prepares its own reference: with the fused head, and on the devices of the run."""
    if share:
        enable(reference)
    add_fused_lm_head(reference, temperature=trainer.temperature, outputs=("log_probs", "entropy"))
    if trainer.is_deepspeed_enabled:
        return prepare_deepspeed(reference, trainer.accelerator)
    if trainer.is_fsdp_enabled:
        return prepare_fsdp(reference, trainer.accelerator)
    return trainer.accelerator.prepare_model(reference, evaluation_mode=True)
