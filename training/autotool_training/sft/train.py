"""Warm-up SFT: a base learns both modes, and when to use which, from labelled records; only the response has loss."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import torch
from datasets import Dataset
from pydantic import BaseModel, ConfigDict, Field, model_validator
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from autotool_core.errors import AutoToolError
from autotool_core.modes import ResolvedMode
from autotool_training.common import prefix_sharing, resume
from autotool_training.common.callbacks import FiniteLoss, MetricsWriter, ProfileWriter, explain_full_disk
from autotool_training.common.checkpoint import Checkpoint, is_finished, load_finished
from autotool_training.common.examples import IGNORE_INDEX, Example, ExampleWriter
from autotool_training.common.export import (
    reject_half_training,
    reject_several_gpus,
    reject_sharded_adapter,
    train_in_float32,
    write_trained,
)
from autotool_training.common.loading import LoadSettings
from autotool_training.common.lora import LoraSettings, lora_config
from autotool_training.common.progress import Curves
from autotool_training.common.records import Record
from autotool_training.common.resume import base_identity, claim_run_dir
from autotool_training.common.trackers import Tracker, tracker_arguments
from autotool_training.patches.trl_head import patch_fused_head
from autotool_training.sft.batching import batch_by_length


class SftSettings(BaseModel):
    """Settings of an SFT run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modes: Literal["labelled", "long", "short", "both"] = "labelled"
    """Which answers are trained: those of each record's label; all long (distilled); all short; or both of each record."""
    lora: LoraSettings | None = None
    """None: all weights are trained."""
    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch_size: int = Field(default=32, ge=1)
    """Sequences of a batch, per device."""
    accumulation: int = Field(default=1, ge=1)
    """Batches of an optimiser step."""
    max_tokens: int = Field(default=2048, ge=1)
    """Longer sequences are left out and counted."""
    save_steps: int = Field(default=500, ge=1)
    """Steps between two checkpoints in `steps/`."""
    keep: int = Field(default=1, ge=1)
    """Number of latest checkpoints in `steps/` that are kept: the probe rounds of `autotool train refine`."""
    share: bool = False
    """Compute a prefix that several sequences have in common once (`common.prefix_sharing`). A pack has at most `batch_size`
    such sequences and often fewer: raise `packs` or `accumulation` for as many sequences a step."""
    packs: int = Field(default=1, ge=1)
    """Packs of a batch with `share`, per device. The head costs as much for a batch of one pack as of several."""
    gradient_checkpointing: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: mixed precision."""
    report_to: list[Tracker] = []
    """Services that get the metrics, besides TensorBoard's files: `wandb`, `trackio`. Each needs its package."""

    @model_validator(mode="after")
    def _packs_are_shared(self) -> Self:
        if self.packs > 1 and not self.share:
            raise ValueError("packs needs share=true: without it a batch has batch_size sequences")
        return self


def make_examples(
    records: Iterable[Record], writer: ExampleWriter, settings: SftSettings
) -> tuple[list[Example], Counter[str]]:
    """Return the training sequences, and the number of those left out by reason.

    Raises AutoToolError for a record without a label if the labels choose the modes.
    """
    kept: list[Example] = []
    left_out = Counter[str]()
    for record in records:
        for mode in _modes(record, settings.modes):
            if mode is ResolvedMode.LONG and not record.reasoning:
                left_out["without reasoning"] += 1
                continue
            example = writer.example(record, mode)
            if len(example.prompt_ids) + len(example.response_ids) > settings.max_tokens:
                left_out[f"longer than {settings.max_tokens} tokens"] += 1
            else:
                kept.append(example)
    return kept, left_out


def _modes(record: Record, modes: str) -> Sequence[ResolvedMode]:
    if modes == "both":
        return (ResolvedMode.LONG, ResolvedMode.SHORT)
    if modes == "labelled" and record.label is None:
        raise AutoToolError(f"Record {record.id} has no label: run `autotool train label`, or set sft.modes.")
    return (ResolvedMode(record.label if modes == "labelled" else modes),)


def train(
    base: Checkpoint,
    data: Sequence[Example],
    settings: SftSettings,
    out: Path,
    *,
    seed: int,
    begin: Callable[[Path], None] | None = None,
    loading: LoadSettings | None = None,
) -> Checkpoint:
    """Train and write the checkpoint into `out`, resuming a stopped run there; a run that ended is left as it is.

    With LoRA the adapter is written to `out/adapter`, and the merged weights to `out`. Metrics go to `out/metrics.jsonl`
    and, for TensorBoard, to `out/tensorboard`. `begin` is called with `out` once it is known to be this run's.
    `loading` is how the result of a run that ended is loaded.
    Raises AutoToolError if there are no sequences, the folder holds another run, the loss is not a number or the disk is
    full.
    """
    if not data and not is_finished(out):
        raise AutoToolError("There is nothing to train on: no record is left. Look at the counts of `data` and `label`.")
    run = {"stage": "sft", "seed": seed, "settings": settings.model_dump(), "sequences": _digest(data)}
    claim_run_dir(
        out,
        {**run, **base_identity(base)},
        begin,
        assumed={"settings": SftSettings().model_dump()},
        planned="settings.epochs",
        unused=["settings.report_to"],
    )
    if done := load_finished(out, loading):
        return done
    with explain_full_disk(out):
        trainer = _trainer(base, data, settings, out / "steps", seed)
        resume.train(trainer, out / "steps")
        return write_trained(trainer, base, out)


def _digest(data: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in data:
        digest.update(repr((example.prompt_ids, example.response_ids)).encode())
    return digest.hexdigest()


def _trainer(base: Checkpoint, data: Sequence[Example], settings: SftSettings, out: Path, seed: int) -> SFTTrainer:
    args = sft_config(settings, out, seed)
    reject_several_gpus(args)
    rows = _rows(base, data, settings)
    if settings.share:
        prefix_sharing.enable(base.model)
    trainer = SFTTrainer(
        model=base.model,
        args=args,
        train_dataset=Dataset.from_list([dict(row) for row in rows]).select(_order(rows, args, seed, settings.epochs)),
        data_collator=prefix_sharing.collate if settings.share else None,
        processing_class=base.tokenizer,
        peft_config=settings.lora and lora_config(base, settings.lora),
        callbacks=[
            FiniteLoss(),
            MetricsWriter(out.parent / "metrics.jsonl"),
            Curves(out.parent),
            ProfileWriter(base.profile),
        ],
    )
    train_in_float32(trainer, base)
    reject_half_training(trainer)
    reject_sharded_adapter(trainer)
    patch_fused_head(trainer.model)
    return trainer


def sft_config(settings: SftSettings, out: Path, seed: int) -> SFTConfig:
    """Return TRL's settings of the run, whose dataset holds the sequences of all epochs in their order."""
    return SFTConfig(
        output_dir=str(out),
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        per_device_train_batch_size=settings.packs if settings.share else settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        max_length=None,
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=settings.precision == "bfloat16",
        seed=seed,
        save_steps=settings.save_steps,
        save_total_limit=settings.keep,
        logging_steps=1,
        logging_nan_inf_filter=False,
        **tracker_arguments(settings.report_to, out.parent),
        dataloader_pin_memory=torch.cuda.is_available(),
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
    )


def _order(rows: Sequence[Mapping[str, list[int]]], args: SFTConfig, seed: int, epochs: float) -> list[int]:
    batch, parts = args.per_device_train_batch_size, args.gradient_accumulation_steps * args.world_size
    steps = math.ceil(epochs * len(rows) / (batch * parts))
    return batch_by_length([len(row["input_ids"]) for row in rows], batch=batch, parts=parts, steps=steps, seed=seed)


def _rows(base: Checkpoint, data: Sequence[Example], settings: SftSettings) -> Sequence[Mapping[str, list[int]]]:
    if settings.share:
        return prefix_sharing.pack_by_prefix(data, settings.batch_size, base.tokenizer.eos_token_id)
    return [
        {
            "input_ids": [*example.prompt_ids, *example.response_ids],
            "labels": [IGNORE_INDEX] * len(example.prompt_ids) + example.response_ids,
        }
        for example in data
    ]
