"""Evaluation of a run on held-out records in all three modes, and the best checkpoint by its result.

Greedy decoding by whatever decodes the rollouts. In `auto` the model decides; in the forced modes its answer follows the mode's
prefix. Accuracy is the share of right answers (`reward.is_right`), and tokens are those of whole answers, prefix included.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.models.utils import unwrap_model_for_generation

from autotool_core import jsonl
from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_training.common import records as files
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.export import write_current
from autotool_training.common.lora import with_merged_adapter
from autotool_training.common.prefix_sharing import without_kv_copies
from autotool_training.common.records import Record
from autotool_training.common.sampling import sample
from autotool_training.rl.grpo import AutoToolGRPOTrainer
from autotool_training.rl.rollout import force_decision_token
from autotool_training.rl.run_settings import EvaluationSettings

BEST = "best"
"""The folder of a run that has the best checkpoint."""
BEST_FILE = "evaluation.json"
"""The file in it that says of which step it is, and its result."""


@dataclass(frozen=True, slots=True)
class Result:
    """The step and the result in `auto` by which a checkpoint is the best one."""

    step: int
    accuracy: float
    tokens: float

    def beats(self, other: "Result | None") -> bool:
        """Return whether it is more accurate, or as accurate with fewer tokens."""
        return other is None or (self.accuracy, -self.tokens) > (other.accuracy, -other.tokens)


def read_held_out(
    settings: EvaluationSettings, trained: Sequence[Record], max_prompt_tokens: int, base: Checkpoint
) -> list[Record]:
    """Return the first `count` held-out records whose prompts are not too long.

    Raises AutoToolError if there is none, or if one of the file has the messages and tools of a record that is trained on.
    """
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    held_out = list(files.read(Path(settings.records), strict=True))
    known = {_task(record) for record in trained}
    if shared := [record for record in held_out if _task(record) in known]:
        raise AutoToolError(
            f"rl.evaluation.records: {settings.records} has {len(shared)} of the records that are trained on, such as "
            f"{shared[0].id}: leave them out of one of the files."
        )
    fitting = [record for record in held_out if writer.fits(record, max_prompt_tokens)][: settings.count]
    if not fitting:
        raise AutoToolError(f"rl.evaluation.records: {settings.records} has no record whose prompt is short enough.")
    return fitting


def _task(record: Record) -> str:
    return json.dumps([record.messages, record.tools], sort_keys=True)


class HeldOutEvaluation(TrainerCallback):
    """Evaluates every `settings.steps` steps and at the end, and keeps the best checkpoint in the run's folder `out`.

    The metrics are those of the step: `eval_MODE/accuracy` and `eval_MODE/tokens`, and `eval_auto/thinking_rate`.
    """

    def __init__(
        self,
        trainer: AutoToolGRPOTrainer,
        base: Checkpoint,
        held_out: Sequence[Record],
        settings: EvaluationSettings,
        out: Path,
    ) -> None:
        self._trainer, self._base, self._records, self._settings = trainer, base, held_out, settings
        self._best, self._part = out / BEST, out / f"{BEST}.part"
        self._writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Put a best checkpoint in its place that a killed run had written whole: its result is its last file."""
        if state.is_world_process_zero and (self._part / BEST_FILE).exists():
            self._replace_best()
        self._trainer.accelerator.wait_for_everyone()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Evaluate if it is time, before the metrics of the step are logged."""
        if state.global_step % self._settings.steps and state.global_step != state.max_steps:
            return
        metrics: dict[str, float] = {}
        for mode in Mode:
            accuracy, tokens, thinking_rate = self._evaluate(mode)
            metrics |= {f"eval_{mode}/accuracy": accuracy, f"eval_{mode}/tokens": tokens}
            metrics |= {"eval_auto/thinking_rate": thinking_rate} if mode is Mode.AUTO else {}
        self._trainer.note(metrics)
        self._keep(Result(state.global_step, metrics["eval_auto/accuracy"], metrics["eval_auto/tokens"]))

    def _evaluate(self, mode: Mode) -> list[float]:
        """Return the means of right, tokens and thinking over the records, of which each rank decodes its part."""
        ranks, rank = self._trainer.accelerator.num_processes, self._trainer.accelerator.process_index
        # Every rank decodes as many records, since sharded weights are gathered by all at once: the first again if need be.
        share = [self._records[at % len(self._records)] for at in range(rank, -(-len(self._records) // ranks) * ranks, ranks)]
        counted = len(range(rank, len(self._records), ranks))
        prefix = [] if mode is Mode.AUTO else [*self._writer.response_prefixes[ResolvedMode(mode)]]
        prompts = [self._writer.prompt(record) for record in share]
        decoded = self._decode([prompt + prefix for prompt in prompts], decide=mode is Mode.AUTO)
        facts = [
            self._facts(record, prompt, prefix + answer)
            for record, prompt, answer in zip(share[:counted], prompts, decoded, strict=False)
        ]
        sums = torch.tensor(facts, dtype=torch.float64).view(-1, 3).sum(0).float()
        return [total / len(self._records) for total in self._trainer.sum_over_ranks(sums.to(self._trainer.accelerator.device))]

    def _facts(self, record: Record, prompt: list[int], response: list[int]) -> tuple[float, float, float]:
        gold = [Call(call.name, call.arguments) for call in record.calls]
        scored = self._trainer.scorer.score(prompt, response, record.tools, gold)
        return scored.right, scored.length, scored.trajectory.mode is ResolvedMode.LONG

    def _decode(self, prompts: list[list[int]], *, decide: bool) -> list[list[int]]:
        trainer = self._trainer
        if trainer.use_vllm:
            return trainer.decode_by_vllm(prompts)
        whole = trainer._dist.summon_full_params(trainer.model_wrapped, recurse=False)
        with (
            unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model,
            whole,
            with_merged_adapter(model),
        ):
            base = getattr(model, "get_base_model", lambda: model)()
            was_training = base.training
            base.eval()
            answers = [answer for part in self._batches(prompts) for answer in self._decode_batch(base, part, decide=decide)]
            base.train(was_training)
        return answers

    def _batches(self, prompts: list[list[int]]) -> Iterator[list[list[int]]]:
        size = self._settings.batch
        return (prompts[start : start + size] for start in range(0, len(prompts), size))

    def _decode_batch(self, model: Any, prompts: list[list[int]], *, decide: bool) -> list[list[int]]:
        trainer = self._trainer
        deciding = force_decision_token(model, trainer.decision) if decide else nullcontext()
        with without_kv_copies(model), deciding:
            return sample(model, prompts, trainer.max_completion_length, trainer.eos_token_ids, temperature=0)

    def _stored(self) -> Result | None:
        file = self._best / BEST_FILE
        return Result(**json.loads(file.read_text())) if file.exists() else None

    def _keep(self, result: Result) -> None:
        # Every rank reads it before the first one writes.
        better = result.beats(self._stored())
        self._trainer.accelerator.wait_for_everyone()
        if not better:
            return
        if self._trainer.accelerator.is_main_process:
            # Of a killed run.
            rmtree(self._part, ignore_errors=True)
        write_current(self._trainer, self._base, self._part)
        if self._trainer.accelerator.is_main_process:
            with jsonl.atomic_write(self._part / BEST_FILE) as file:
                file.write_text(json.dumps(asdict(result)))
            self._replace_best()
        self._trainer.accelerator.wait_for_everyone()

    def _replace_best(self) -> None:
        rmtree(self._best, ignore_errors=True)
        self._part.rename(self._best)
