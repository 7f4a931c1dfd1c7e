"""RL on records: entropy targets measured on the base, rollouts, GRPO with the objective, and the checkpoint."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

from autotool_core import jsonl
from autotool_core.errors import AutoToolError
from autotool_training.common import resume
from autotool_training.common.callbacks import FiniteLoss, MetricsWriter, ProfileWriter, explain_full_disk
from autotool_training.common.checkpoint import Checkpoint, is_finished, load_finished
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.export import (
    reject_half_training,
    reject_several_gpus,
    reject_sharded_adapter,
    reject_sharded_decoding,
    train_in_float32,
    write_trained,
)
from autotool_training.common.loading import LoadSettings
from autotool_training.common.lora import lora_config
from autotool_training.common.progress import Curves
from autotool_training.common.records import Record
from autotool_training.common.resume import base_identity, claim_run_dir, records_digest, stored_run
from autotool_training.common.trackers import tracker_arguments
from autotool_training.patches.trl_head import patch_fused_head
from autotool_training.patches.vllm_cpu import patch_vllm_on_cpu
from autotool_training.rl.evaluation import HeldOutEvaluation, read_held_out
from autotool_training.rl.grpo import AutoToolGRPOTrainer
from autotool_training.rl.objective import trl_arguments
from autotool_training.rl.own_reward import load_rewards
from autotool_training.rl.run_settings import RlSettings
from autotool_training.rl.settings import (
    ENTROPY_TERM,
    OLDER_OBJECTIVE,
    UNCONSTRAINED,
    UNTARGETED,
    EntropyTargets,
    ObjectiveSettings,
    Variant,
)
from autotool_training.rl.targets import Probes, measure_targets

TARGETS_FILE = "targets.json"
"""Holds a run's entropy targets, which a resumed run uses again."""
OBSERVING = {"keep", "vllm", "vllm_url", "evaluation", "report_to", "log_completions"}
"""Settings by which the result of a run stays what it is."""
OBJECTIVE_VERSION = 2
"""Counts the changes of rewards and losses that no setting takes back. Runs from before this number have none: their cut
rollouts had no loss on the decision, long answers with an empty think block counted as thought, and no prompt was too long."""


def train(
    base: Checkpoint,
    records: Sequence[Record],
    settings: RlSettings,
    out: Path,
    *,
    seed: int,
    begin: Callable[[Path], None] | None = None,
    skipped: Callable[[str], None] | None = None,
    loading: LoadSettings | None = None,
) -> Checkpoint:
    """Train and write the checkpoint into `out`, resuming a stopped run there, β_l and targets included.

    A run that ended is left as it is, unless `settings` has more steps: then it goes on from its last checkpoint. Metrics of
    every step go to `out/metrics.jsonl` and, for TensorBoard, to `out/tensorboard`. `begin` is called with `out` once it is
    known to be this run's, and `skipped` with a sentence if prompts are too long. `loading` is how the result of a run that
    ended is loaded.
    Raises AutoToolError if there are too few records for a step, the folder holds another run or an unfinished one of older
    code with another objective, the loss is not a number or the disk is full.
    """
    if not is_finished(out):
        reject_server_without_gpu(settings)
    load_rewards(settings)
    args = grpo_config(settings, out / "steps", seed)
    fitting = _fitting(base, records, settings.max_prompt_tokens, skipped)
    _reject_older_objective(out, settings.steps)
    if not is_finished(out):
        _reject_too_few(fitting, settings, args)
    held_out = _held_out(base, fitting, settings)
    run = {"stage": "rl", "seed": seed, "settings": settings.model_dump(), "records": records_digest(records)}
    run |= {"held_out": records_digest(held_out)} if held_out else {}
    run |= {"objective_version": OBJECTIVE_VERSION, **base_identity(base)}
    assumed = {"settings": _assumed(settings)}
    claim_run_dir(out, run, begin, assumed=assumed, growing="settings.steps", unused=_unused(settings.objective.variant))
    if done := load_finished(out, loading):
        return done
    with explain_full_disk(out):
        trainer = _trainer(_Job(base, fitting, settings, out, seed, held_out), args)
        resume.train(trainer, out / "steps")
        return write_trained(trainer, base, out)


def reject_server_without_gpu(settings: RlSettings) -> None:
    """Raise AutoToolError if weights would go to a vLLM server from a machine without a GPU: TRL sends them by NCCL."""
    if settings.rollouts == "vllm-server" and not torch.cuda.is_available():
        raise AutoToolError(
            "rl.rollouts=vllm-server needs a GPU here, from which the weights go to the server (by NCCL): set rl.rollouts to "
            "vllm or transformers on this machine."
        )


def _held_out(base: Checkpoint, records: Sequence[Record], settings: RlSettings) -> list[Record]:
    evaluation = settings.evaluation
    return read_held_out(evaluation, records, settings.max_prompt_tokens, base) if evaluation else []


def _reject_older_objective(out: Path, steps: int) -> None:
    """Raise AutoToolError if the folder's run would go on, and has begun with an objective that no setting brings back."""
    held = stored_run(out)
    if held is None or held.get("stage") != "rl" or held.get("objective_version") == OBJECTIVE_VERSION:
        return
    if not is_finished(out) or held["settings"]["steps"] < steps:
        raise AutoToolError(
            f"{out} holds a run of older code, which treated cut answers and empty think blocks otherwise, and cannot go on: "
            "give another --out."
        )


def _assumed(settings: RlSettings) -> dict[str, Any]:
    """Return the settings of a run whose folder does not hold them: the defaults, or what older code did."""
    older, objective = RlSettings(target_answers="forced"), ObjectiveSettings(**OLDER_OBJECTIVE)
    # Older code had no limit. Its runs do not go on, so that it does not matter which one a finished run is asked for with.
    older = older.model_copy(update={"max_prompt_tokens": settings.max_prompt_tokens})
    return {**older.model_dump(), "objective": objective.model_dump()}


def _unused(variant: Variant) -> list[str]:
    """Return what is stored of a run of a variant and does not matter, in the words of `claim_run_dir`."""
    constrained = variant not in UNCONSTRAINED
    targets = ["percentile", "target_answers", "probes"] if variant in UNTARGETED else []
    term = () if constrained else ENTROPY_TERM
    objective = [*term, *(("rewards", "length_bonus") if variant == "length-penalty" else ("length_penalty",))]
    settings = [*OBSERVING, *targets, *(f"objective.{name}" for name in objective)]
    return ["objective_version", *(f"settings.{name}" for name in settings)]


def _fitting(
    base: Checkpoint, records: Sequence[Record], max_tokens: int, skipped: Callable[[str], None] | None
) -> list[Record]:
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    fitting = [record for record in records if writer.fits(record, max_tokens)]
    if skipped and (long := len(records) - len(fitting)):
        skipped(f"{long} records have prompts of more than {max_tokens} tokens (rl.max_prompt_tokens)")
    return fitting


@dataclass(frozen=True, slots=True)
class _Job:
    """All that a run is made of."""

    base: Checkpoint
    records: Sequence[Record]
    settings: RlSettings
    out: Path
    seed: int
    held_out: Sequence[Record] = ()

    def writer(self) -> ExampleWriter:
        return ExampleWriter(self.base.tokenizer, self.base.profile, self.base.tokenizer.eos_token_id)


def _reject_too_few(records: Sequence[Record], settings: RlSettings, args: GRPOConfig) -> None:
    """Raise AutoToolError if the records do not fill a step: TRL drops an incomplete one, and would end without training."""
    needed = settings.prompts * args.world_size
    if len(records) < needed:
        raise AutoToolError(
            f"RL has {len(records)} records, and a step takes {needed} (rl.prompts={settings.prompts}, on each of "
            f"{args.world_size} processes): give more records, or lower rl.prompts."
        )


def _trainer(job: _Job, args: GRPOConfig) -> AutoToolGRPOTrainer:
    reject_several_gpus(args)
    # The first process measures the targets, and every other one reads them.
    with args.main_process_first(local=False):
        objective = _with_targets(job, args.device)
    if job.settings.rollouts == "vllm":
        patch_vllm_on_cpu()
    trainer = AutoToolGRPOTrainer(
        job.base.model,
        settings=objective,
        share=job.settings.share,
        halved=job.settings.decisions == "halved",
        max_num_gen_batches=job.settings.max_num_gen_batches,
        log_completions=job.settings.log_completions,
        own_reward=load_rewards(job.settings),
        profile=job.base.profile,
        args=args,
        train_dataset=_dataset(job.writer(), job.records, whole=job.settings.reward is not None),
        processing_class=job.base.tokenizer,
        peft_config=job.settings.lora and lora_config(job.base, job.settings.lora),
        callbacks=[
            FiniteLoss(),
            MetricsWriter(job.out / "metrics.jsonl"),
            Curves(job.out),
            ProfileWriter(job.base.profile),
        ],
    )
    train_in_float32(trainer, job.base)
    if job.settings.evaluation:
        trainer.add_callback(HeldOutEvaluation(trainer, job.base, job.held_out, job.settings.evaluation, job.out))
    reject_half_training(trainer)
    reject_sharded_adapter(trainer)
    reject_sharded_decoding(trainer)
    patch_fused_head(trainer.model)
    return trainer


def _with_targets(job: _Job, device: torch.device) -> ObjectiveSettings:
    """Return the objective with its entropy targets: given, stored by an earlier start of the run, or measured now."""
    settings, stored = job.settings, job.out / TARGETS_FILE
    objective = settings.objective
    if objective.targets is not None or objective.variant in UNTARGETED:
        return objective
    if not stored.exists():
        job.base.model.to(device)
        rollouts, max_tokens = settings.prompts * settings.group, settings.max_response_tokens
        # Where vLLM decodes, transformers may have no room for the rollouts of a whole step.
        batch = rollouts if settings.rollouts == "transformers" else rollouts // settings.accumulation
        probes = Probes(settings.probes, batch, max_tokens, settings.percentile, job.seed, settings.target_answers)
        with jsonl.atomic_write(stored) as part:
            part.write_text(measure_targets(job.base, job.records, probes).model_dump_json())
    return objective.model_copy(update={"targets": EntropyTargets.model_validate_json(stored.read_text())})


def grpo_config(settings: RlSettings, out: Path, seed: int) -> GRPOConfig:
    """Return TRL's settings of the run."""
    rollouts = settings.prompts * settings.group
    vllm: dict[str, Any] = {"use_vllm": settings.rollouts != "transformers"}
    if settings.rollouts != "transformers":
        vllm |= {"vllm_mode": "server" if settings.rollouts == "vllm-server" else "colocate"}
        vllm |= {"vllm_server_base_url": settings.vllm_url}
        # Otherwise keys are reserved for the longest text that the model can read.
        vllm |= {"vllm_max_model_length": settings.max_prompt_tokens + settings.max_response_tokens}
        vllm |= {f"vllm_{name}": value for name, value in settings.vllm}
    return GRPOConfig(
        output_dir=str(out),
        max_steps=settings.steps,
        per_device_train_batch_size=rollouts // settings.accumulation,
        gradient_accumulation_steps=settings.accumulation,
        num_generations=settings.group,
        num_iterations=settings.num_iterations,
        max_completion_length=settings.max_response_tokens,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=settings.warmup_steps,
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=settings.precision == "bfloat16",
        save_steps=settings.save_steps,
        save_total_limit=settings.keep,
        logging_steps=1,
        logging_nan_inf_filter=False,
        **tracker_arguments(settings.report_to, out.parent),
        log_completions=settings.log_completions > 0,
        # TRL prints none of them.
        num_completions_to_print=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
        **vllm,
        **trl_arguments(settings.objective),
    )


def _dataset(writer: ExampleWriter, records: Sequence[Record], *, whole: bool) -> Dataset:
    """Return the columns of `RolloutTrainer`; with `whole` that of the records too, which reward functions get."""

    def rows() -> Iterator[dict[str, Any]]:
        for record in records:
            gold = json.dumps([call.model_dump() for call in record.calls])
            row = {"prompt": writer.prompt(record), "gold": gold, "tools": json.dumps(record.tools)}
            yield {**row, "record": record.model_dump_json()} if whole else row

    return Dataset.from_list(list(rows()))
