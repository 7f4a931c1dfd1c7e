"""The adapter: TRL's GRPOTrainer with the modes, rewards and entropy constraints of this package.

With its base class in `rollout_trainer` it overrides private methods of TRL 1.16's GRPOTrainer (hence the pin), because TRL has
no hooks for tokenized prompts, the first token of rollouts, the entropy term and its state: here
`_generate_and_score_completions`, `_get_per_token_logps_and_entropies`, `_compute_loss`, `_save_checkpoint`,
`_load_optimizer_and_scheduler`. It uses the entropies that TRL's forward pass returns anyway.
"""

import copy
import json
import math
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from torch import Tensor
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.grpo_config import GRPOConfig

from autotool_core.errors import AutoToolError
from autotool_training.common.prefix_sharing import score_responses
from autotool_training.rl.dynamic_sampling import draw_rows, replace_dead_groups, rows_of
from autotool_training.rl.entropy import sequence_entropy
from autotool_training.rl.metrics import (
    entropy_metrics,
    entropy_sums,
    gap_metrics,
    gradient_l1,
    logp_gap_sums,
    rollout_facts,
    rollout_metrics,
    share_metrics,
)
from autotool_training.rl.objective import EntropyConstraint, Modes, check_setup, finished, keep_decisions, live_groups
from autotool_training.rl.reference import prepare_reference
from autotool_training.rl.rollout_trainer import RolloutTrainer
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.rl.trajectory import mode_masks

BETA_FILE = "beta.json"


class AutoToolGRPOTrainer(RolloutTrainer):
    """GRPOTrainer for the objective of `settings`. `args` must hold what `objective.trl_arguments` returns.

    The columns of the datasets and the other arguments are those of `RolloutTrainer`. With `max_num_gen_batches` above 1 groups
    of equal rewards are replaced (`dynamic_sampling`). Raises AutoToolError for other columns, and if the loss is not a number.
    """

    def __init__(
        self,
        model: Any,
        *,
        settings: ObjectiveSettings,
        args: GRPOConfig,
        train_dataset: Dataset,
        max_num_gen_batches: int = 1,
        **rest: Any,
    ) -> None:
        check_setup(args, train_dataset.column_names, settings)
        self._constraint = EntropyConstraint(settings)
        self._tokens: Any = None
        self._sums: Tensor | None = None
        self._dropped: Tensor | None = None
        self._max_num_gen_batches = max_num_gen_batches
        reference = copy.deepcopy(model) if args.beta and not rest.get("peft_config") else None
        # TRL would load the reference by the name of the base, which may have no markers yet.
        args.beta = 0.0
        super().__init__(model, settings=settings, args=args, train_dataset=train_dataset, **rest)
        args.beta = self.beta = settings.kl_beta
        self.ref_model = None if reference is None else prepare_reference(self, reference, share=self._share)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of `_generate_batch`, with groups of equal rewards replaced in training as far as it is set."""
        batch, live = self._generate_batch(inputs)
        if self._max_num_gen_batches == 1 or not self.model.training:
            return batch
        # The metrics and tables are those of the first rollouts, as is what adapts β_l.
        (metrics, logs), first = copy.deepcopy((self._metrics["train"], self._logs)), batch
        batch, replaced = replace_dead_groups(
            first,
            live,
            self.num_generations,
            generate=self._generate_further,
            largest=self._largest,
            attempts=self._max_num_gen_batches - 1,
        )
        self._metrics["train"], self._logs = metrics, logs
        (count,) = self.sum_over_ranks(torch.tensor([float(len(replaced))], device=live.device))
        self.note({"replaced_groups": count})
        self._dropped = self._measure_dropped(first, replaced)
        tokens = cast("Tensor", self.accelerator.gather(batch["completion_mask"].sum())).sum()
        return {**batch, "num_items_in_batch": tokens}

    def _generate_further(self, groups: int, attempt: int) -> tuple[dict[str, Any], Tensor]:
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        # A resumed run draws the same records again.
        draw = (self.state.global_step * self._max_num_gen_batches + attempt) * ranks + rank
        return self._generate_batch(draw_rows(self.train_dataset, groups, self.num_generations, self.args.seed + draw))

    def _largest(self, number: int) -> int:
        return int(cast("Tensor", self.accelerator.gather(torch.tensor([number], device=self.accelerator.device))).max())

    def _measure_dropped(self, batch: dict[str, Any], replaced: list[int]) -> Tensor | None:
        """Return what `_end_micro_batch` adds up, over the rollouts of replaced groups: their entropies, without a gradient.

        Sharded weights are gathered by all ranks at once, so that each measures as many groups as any; what a rank has too many
        is not counted.
        """
        count = self._largest(len(replaced))
        if not count:
            return None
        rows = rows_of(batch, [*replaced, *[0] * (count - len(replaced))], self.num_generations)
        rows["drawn"] = torch.arange(len(rows["drawn"]), device=rows["drawn"].device) < len(replaced) * self.num_generations
        ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], 1)
        seen = torch.cat([rows["prompt_mask"], rows["completion_mask"]], 1)
        size, width = self.args.per_device_train_batch_size, rows["completion_ids"].size(1)
        with torch.no_grad():
            _, entropy, _ = self._get_per_token_logps_and_entropies(
                self.model, ids, seen, width, batch_size=size, compute_entropy=True
            )
        self._tokens = None
        sums, gaps = self._entropy_sums(entropy, rows)
        return torch.cat([sums, sums.new_zeros(4), gaps])

    def _generate_batch(self, inputs: list[dict[str, Any]]) -> tuple[dict[str, Any], Tensor]:
        """Return TRL's batch, in which cut responses have loss on their decision alone, and which rollouts are in live groups.

        The batch has three masks (B,) of bool in addition. `whole`: the trajectory was not cut; `counted`: it counts in the
        entropy term if it was not; `drawn`: it counts in the metrics and in what adapts β_l.
        """
        batch = super()._generate_and_score_completions(inputs)
        facts: Any = self.accelerator.gather(rollout_facts(self._scored, self.accelerator.device))
        live = live_groups(facts[:, 0], self._group_size())
        self.note(rollout_metrics(facts, live))
        start = self.accelerator.process_index * len(inputs)
        counted = self._constraint.counted(live)[start : start + len(inputs)]
        whole = finished(batch["completion_ids"], batch["completion_mask"], self.eos_token_ids)
        mask = keep_decisions(batch["completion_mask"], whole)
        tokens = cast("Tensor", self.accelerator.gather(mask.sum())).sum()
        sampled = self._recorder.take(mask.size(1))
        # vLLM's are in the batch already, by this name.
        batch |= {} if sampled is None else {"sampling_per_token_logps": sampled}
        masks = {"completion_mask": mask, "counted": counted, "whole": whole, "drawn": torch.ones_like(whole)}
        return {**batch, **masks, "num_items_in_batch": tokens}, live[start : start + len(inputs)]

    def _get_per_token_logps_and_entropies(self, model: Any, *rows: Any, **kwargs: Any) -> Any:
        if self._share:
            outputs = *self._shared_scores(model, *rows, **kwargs), None
        else:
            outputs = super()._get_per_token_logps_and_entropies(model, *rows, **kwargs)
        if kwargs.get("compute_entropy"):
            self._tokens = outputs[:2]
        return outputs

    def _shared_scores(
        self, model: Any, ids: Tensor, mask: Tensor, responses: int, batch_size: int | None = None, **_: Any
    ) -> list[Tensor]:
        size = batch_size or len(ids)
        with self.accelerator.autocast():
            starts = range(0, len(ids), size)
            parts = [score_responses(model, ids[i : i + size], mask[i : i + size], responses) for i in starts]
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        policy_loss = super()._compute_loss(model, inputs)
        (logps, token_entropy), self._tokens = self._tokens, None
        mask = inputs["completion_mask"]
        entropy = sequence_entropy(token_entropy, mask)
        modes = Modes(*(mode & inputs["counted"] for mode in self._present(inputs)))
        term = self._constraint.term(entropy, modes, self._weights(mask.sum(1).to(entropy.dtype), inputs["num_items_in_batch"]))
        sums, controlled = self._entropy_sums(token_entropy, inputs)
        gaps = logp_gap_sums(logps, inputs.get("sampling_per_token_logps"), mask)
        if self.model.training:
            norms = torch.stack([gradient_l1(policy_loss, logps), gradient_l1(term, token_entropy)])
            self._end_micro_batch(torch.cat([sums, gaps, norms, controlled]))
        else:
            self.note(entropy_metrics(self.sum_over_ranks(sums)))
        return policy_loss - term

    def _present(self, inputs: dict[str, Any]) -> list[Tensor]:
        """Return which trajectories (B,) of bool are whole and short, and which are whole and long."""
        return [mode & inputs["whole"] for mode in mode_masks(inputs["completion_ids"], self._reader.decision)]

    def _entropy_sums(self, token_entropy: Tensor, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the sums of the entropies by mode (`entropy_sums`) and those of what adapts β_l, of the drawn trajectories."""
        mask = inputs["completion_mask"]
        entropy = sequence_entropy(token_entropy, mask)
        drawn = [mode & inputs["drawn"] for mode in self._present(inputs)]
        thinking = mask.bool() & self._reader.think_mask(inputs["completion_ids"])
        blocks = sequence_entropy(token_entropy, thinking), drawn[1] & thinking.any(1)
        sums = entropy_sums([(entropy, drawn[0]), (entropy, drawn[1]), blocks])
        return sums, self._constraint.gap_sums(entropy, Modes(*(mode & inputs["counted"] for mode in drawn)))

    def _weights(self, lengths: Tensor, tokens: Tensor) -> Tensor:
        """Return w_i (B,) by `lengths` (B,); `tokens` is the number of those that were generated together, on all ranks."""
        parts = self.current_gradient_accumulation_steps if self.model.training else 1
        return self._constraint.weights(lengths, self._normaliser(lengths, tokens, parts), len(lengths) * parts)

    def _normaliser(self, lengths: Tensor, tokens: Tensor, parts: int) -> Tensor | int:
        """Return what TRL divides the sum over tokens by in a step of so many `parts`; the loss `grpo` has no such number."""
        if self.loss_type == "bnpo":
            return lengths.sum().clamp(min=1) * parts
        if self.loss_type == "dr_grpo":
            return len(lengths) * self.max_completion_length * parts
        batches = parts / cast("Any", self.args).steps_per_generation if self.model.training else 1
        return tokens.clamp(min=1) / self.accelerator.num_processes * batches

    def _end_micro_batch(self, sums: Tensor) -> None:
        """Add up the sums; after the last micro-batch of an optimiser step add up those of all ranks, log, and update β_l."""
        self._sums = sums if self._sums is None else self._sums + sums
        if not self.accelerator.sync_gradients:
            return
        sums = self._sums if self._dropped is None else self._sums + self._dropped
        *entropies, logp_gap, tokens, policy, term, gap_sum, count = self.sum_over_ranks(sums)
        self._sums = None
        if not math.isfinite(policy + term):
            raise AutoToolError("The loss is not a number: lower learning_rate and resume from the last checkpoint.")
        controller = self._constraint.controller
        self.note({**entropy_metrics(entropies), **share_metrics(policy, term), **gap_metrics(logp_gap, tokens)})
        self.note({"beta_long": controller.value})
        controller.step(gap_sum, count)

    def sum_over_ranks(self, sums: Tensor) -> list[float]:
        """Return the sums (N,) of all ranks."""
        return cast("Tensor", self.accelerator.reduce(sums, reduction="sum")).tolist()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # β_l is saved first, because TRL ends its saving by deleting older checkpoints.
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / BETA_FILE).write_text(json.dumps(self._constraint.controller.state_dict()))
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            path = Path(checkpoint) / BETA_FILE
            self._constraint.controller.load_state_dict(json.loads(path.read_text()) if path.exists() else {})
