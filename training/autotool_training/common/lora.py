"""LoRA: adapters of the linear layers, and the markers' rows of the embeddings."""

from pathlib import Path
from typing import Any

from peft import LoraConfig
from pydantic import BaseModel, ConfigDict, Field

from autotool_training.common.checkpoint import Checkpoint


class LoraSettings(BaseModel):
    """Settings of LoRA on all linear layers; of the embeddings only the markers' rows are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=32, ge=1)
    alpha: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


def lora_config(base: Checkpoint, settings: LoraSettings) -> LoraConfig:
    """Return PEFT's settings: every linear layer, and the embedding rows of the markers."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        trainable_token_indices=base.tokenizer.convert_tokens_to_ids(list(base.profile.markers)),
        task_type="CAUSAL_LM",
    )


def save_and_merge(model: Any, adapter: Path) -> Any:
    """Write the model's adapter to a folder and return the model with it merged; one without adapter is returned as it is."""
    if not hasattr(model, "merge_and_unload"):
        return model
    model.save_pretrained(adapter)
    return model.merge_and_unload()
