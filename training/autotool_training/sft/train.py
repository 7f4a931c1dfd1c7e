"""Warm-up SFT: a base learns both modes, and when which, from labelled records; the loss is on the response alone."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
from autotool_training.common.callbacks import FiniteLoss, KeepsProfile, MetricsFile, clear_disk_errors
from autotool_training.common.checkpoint import Checkpoint, finished
from autotool_training.common.examples import IGNORE_INDEX, Example, ExampleWriter
from autotool_training.common.export import refuse_sharded_adapter, write_trained
from autotool_training.common.lora import LoraSettings, lora_config
from autotool_training.common.records import Record
from autotool_training.common.resume import claim, origin
from autotool_training.patches.trl_head import fit_head
from autotool_training.sft.batching import in_batches


class SftSettings(BaseModel):
    """One SFT run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modes: Literal["labelled", "long", "short", "both"] = "labelled"
    """Which answers are learnt: each record's label; always-long (distilled); always-short; or each record in both modes."""
    lora: LoraSettings | None = None
    """None: all weights are trained."""
    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch_size: int = Field(default=32, ge=1)
    """Sequences of a device's step."""
    accumulation: int = Field(default=1, ge=1)
    """Steps of an optimiser step."""
    max_tokens: int = Field(default=2048, ge=1)
    """Longer sequences are left out, and counted."""
    save_steps: int = Field(default=500, ge=1)
    """Steps between two checkpoints in `steps/`."""
    keep: int = Field(default=1, ge=1)
    """Latest checkpoints in `steps/` that are kept: the probe rounds of `autotool train refine`."""
    share: bool = False
    """Compute a beginning that several sequences have in common once (`shared`). What shares one is then a pack, of at most
    `batch_size` sequences and often fewer: raise `packs` or `accumulation` for as many a step."""
    packs: int = Field(default=1, ge=1)
    """Packs of a device's step with `share`. The head costs as much for a pass of one as for one of several."""
    gradient_checkpointing: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: mixed precision."""

    @model_validator(mode="after")
    def _packs_are_shared(self) -> Self:
        if self.packs > 1 and not self.share:
            raise ValueError("packs goes with share=true alone: without it a device's step has batch_size sequences")
        return self


def examples(records: Iterable[Record], writer: ExampleWriter, settings: SftSettings) -> tuple[list[Example], Counter[str]]:
    """What is to be learnt, and how many sequences are left out, by reason.

    Raises AutoToolError for a record without a label where the labels decide.
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


def _modes(record: Record, asked: str) -> Sequence[ResolvedMode]:
    if asked == "both":
        return (ResolvedMode.LONG, ResolvedMode.SHORT)
    if asked == "labelled" and record.label is None:
        raise AutoToolError(f"Record {record.id} has no label: run `autotool train label`, or set sft.modes.")
    return (ResolvedMode(record.label if asked == "labelled" else asked),)


def train(base: Checkpoint, data: Sequence[Example], settings: SftSettings, out: Path, *, seed: int) -> Checkpoint:
    """Train, resuming where a run in `out` was stopped (one that ended is left as it is), and write the checkpoint into it.

    With LoRA the adapter is written to `out/adapter`, and the merged weights to `out`. Metrics go to `out/metrics.jsonl`
    and to TensorBoard.
    Raises AutoToolError if there is nothing to learn, the folder holds another run, the loss is not a number or the disk is
    full.
    """
    run = {"stage": "sft", "seed": seed, "settings": settings.model_dump(), "sequences": _digest(data)}
    claim(out, {**run, **origin(base)})
    if done := finished(out):
        return done
    if not data:
        raise AutoToolError("There is nothing to learn: no record is left. Look at the counts of `data` and `label`.")
    with clear_disk_errors(out):
        trainer = _trainer(base, data, settings, out / "steps", seed)
        resume.train(trainer, out / "steps")
        return write_trained(trainer, base, out)


def _digest(data: Sequence[Example]) -> str:
    found = hashlib.sha256()
    for one in data:
        found.update(repr((one.prompt_ids, one.response_ids)).encode())
    return found.hexdigest()


def _trainer(base: Checkpoint, data: Sequence[Example], settings: SftSettings, out: Path, seed: int) -> SFTTrainer:
    args = sft_config(settings, out, seed)
    rows = _rows(base, data, settings)
    if settings.share:
        prefix_sharing.use(base.model)
    trainer = SFTTrainer(
        model=base.model,
        args=args,
        train_dataset=Dataset.from_list([dict(row) for row in rows]).select(_order(rows, args, seed, settings.epochs)),
        data_collator=prefix_sharing.row if settings.share else None,
        processing_class=base.tokenizer,
        peft_config=settings.lora and lora_config(base, settings.lora),
        callbacks=[FiniteLoss(), MetricsFile(out.parent / "metrics.jsonl"), KeepsProfile(base.profile)],
    )
    refuse_sharded_adapter(trainer)
    fit_head(trainer.model)
    return trainer


def sft_config(settings: SftSettings, out: Path, seed: int) -> SFTConfig:
    """TRL's settings of the run, whose dataset is all of its sequences in their order."""
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
        report_to=["tensorboard"],
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
    )


def _order(rows: Sequence[Mapping[str, list[int]]], args: SFTConfig, seed: int, epochs: float) -> list[int]:
    batch, parts = args.per_device_train_batch_size, args.gradient_accumulation_steps * args.world_size
    steps = math.ceil(epochs * len(rows) / (batch * parts))
    return in_batches([len(row["input_ids"]) for row in rows], batch=batch, parts=parts, steps=steps, seed=seed)


def _rows(base: Checkpoint, data: Sequence[Example], settings: SftSettings) -> Sequence[Mapping[str, list[int]]]:
    if settings.share:
        return prefix_sharing.packs(data, settings.batch_size, base.tokenizer.eos_token_id)
    return [
        {
            "input_ids": [*one.prompt_ids, *one.response_ids],
            "labels": [IGNORE_INDEX] * len(one.prompt_ids) + one.response_ids,
        }
        for one in data
    ]
