"""LoRA: adapters of the linear layers, and of the embeddings the markers' rows alone."""

from pathlib import Path
from typing import Any

from peft import LoraConfig
from pydantic import BaseModel, ConfigDict, Field

from autotool_training.common.checkpoint import Checkpoint


class LoraSettings(BaseModel):
    """LoRA of all linear layers; of the embeddings only the markers' rows are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=32, ge=1)
    alpha: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


def lora_config(base: Checkpoint, settings: LoraSettings) -> LoraConfig:
    """PEFT's settings: every linear layer, and the rows of the markers."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        trainable_token_indices=base.tokenizer.convert_tokens_to_ids(list(base.profile.markers)),
        task_type="CAUSAL_LM",
    )


def merged(model: Any, adapter: Path) -> Any:
    """The model with its adapter, if it has one, written to a folder and merged into the weights."""
    if not hasattr(model, "merge_and_unload"):
        return model
    model.save_pretrained(adapter)
    return model.merge_and_unload()
