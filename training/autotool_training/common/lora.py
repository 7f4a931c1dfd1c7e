"""LoRA: adapters of the linear layers, and the markers' rows of the embeddings."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from autotool_core.errors import AutoToolError
from autotool_training.common.checkpoint import Checkpoint


class LoraSettings(BaseModel):
    """Settings of LoRA on all linear layers; of the embeddings, input and output, only the markers' rows are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=32, ge=1)
    alpha: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


def lora_config(base: Checkpoint, settings: LoraSettings) -> LoraConfig:
    """Return PEFT's settings: every linear layer, and the markers' rows of the input and the output embeddings."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        trainable_token_indices=_marker_rows(base),
        task_type="CAUSAL_LM",
    )


def _marker_rows(base: Checkpoint) -> list[int] | dict[str, list[int]]:
    """Return the rows that are trained: those of one matrix if the embeddings are tied, otherwise by the name of each matrix.

    PEFT applies a list to the input embeddings, and to the output embeddings only if they are tied to these. A marker whose
    output row is not trained would be read, and hardly ever written.
    """
    rows = base.tokenizer.convert_tokens_to_ids(list(base.profile.markers))
    matrices = (base.model.get_input_embeddings(), base.model.get_output_embeddings())
    if matrices[0].weight is matrices[1].weight:
        return rows
    names = {module: name for name, module in base.model.named_modules()}
    return {names[matrix]: rows for matrix in matrices}


def reject_other_rows(trainer: Any, checkpoint: Path) -> None:
    """Raise AutoToolError if the adapter in a checkpoint has other rows than the trainer's, whose state it could not give."""
    file = checkpoint / "adapter_config.json"
    if not file.exists():
        return
    held = json.loads(file.read_text()).get("trainable_token_indices")
    if held != trainer.model.peft_config["default"].trainable_token_indices:
        raise AutoToolError(
            f"{checkpoint} is an adapter of older code, without the markers' rows of the output embeddings, and cannot go on: "
            "give another --out."
        )


@contextmanager
def with_merged_adapter(model: Any) -> Generator[None]:
    """Merge the adapter of a PEFT model into its weights, which takes one product a layer and token instead of three.

    Unmerging leaves rounding errors of float32, about 1e-7 of a weight each time. Other models are unchanged, and so is a base
    of fewer bits: its weights would be off by a rounding step of theirs, 1 part in 256 of bfloat16, after each time.
    """
    if not hasattr(model, "merge_adapter") or not _is_float32(model):
        yield
        return
    model.merge_adapter()
    try:
        yield
    finally:
        model.unmerge_adapter()


def _is_float32(model: Any) -> bool:
    layers = (layer for layer in model.modules() if isinstance(layer, BaseTunerLayer))
    return all(layer.get_base_layer().weight.dtype == torch.float32 for layer in layers)


def merged_weights(model: Any) -> Generator[tuple[str, Tensor]]:
    """Yield the weights of a PEFT model, its adapter merged in, by the names that they have without it; tied ones once.

    The model's own weights stay as they are. Those without an adapter are the model's tensors, and no copies.
    """
    base = model.get_base_model()
    for name, weight in base.named_parameters():
        if model.prefix in name or "trainable_tokens" in name:
            continue
        layer = name.removesuffix(".base_layer.weight")
        merged = weight.data if layer == name else _merged(base.get_submodule(layer))
        yield name.replace(".token_adapter.base_layer", "").replace(".base_layer", ""), merged


def _merged(layer: Any) -> Tensor:
    """Return the weight of a layer with its adapter merged in, as PEFT does it, into a copy."""
    weight = layer.get_base_layer().weight
    before = weight.data
    weight.data = before.clone()
    layer.merge()
    merged, weight.data = weight.data, before
    layer.merged_adapters.clear()
    return merged


def save_and_merge(model: Any, adapter: Path) -> Any:
    """Write the model's adapter to a folder and return the model with it merged; one without adapter is returned as it is."""
    if not hasattr(model, "merge_and_unload"):
        return model
    model.save_pretrained(adapter)
    return model.merge_and_unload()
