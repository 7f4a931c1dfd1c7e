"""The adapter: TRL's GRPOTrainer with the modes, rewards and entropy constraints of this package.

It overrides private methods of TRL 1.16, hence the pin, and uses the entropies that TRL's forward pass returns anyway.
With `share` a prompt is computed once for those of its rollouts that are in one part of the step (TRL shuffles them).
"""

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import DistributedType
from datasets import Dataset
from torch import Tensor
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from autotool_core.errors import AutoToolError
from autotool_core.profile import Profile
from autotool_training.common.prefix_sharing import keys_uncopied, scores, use
from autotool_training.rl.entropy import sequence_entropy
from autotool_training.rl.metrics import entropy_metrics, entropy_sums, pull, rollout_facts, rollout_metrics, share_metrics
from autotool_training.rl.objective import EntropyConstraint, Modes, check_setup, live_groups
from autotool_training.rl.passes import PassSampler
from autotool_training.rl.reward import Scored, Scorer, parse_gold
from autotool_training.rl.rollout import deciding_first, merged_adapter
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.rl.trajectory import TrajectoryReader, mode_masks

BETA_FILE = "beta.json"
WHOLE_WEIGHTS = frozenset({DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU})


class AutoToolGRPOTrainer(GRPOTrainer):
    """GRPOTrainer for the objective of `settings`. `args` must hold what `objective.GRPO` does.

    Columns of the datasets: `prompt`, token ids ending with the `auto` prefix; `gold`, a JSON list of calls; `tools`,
    a JSON list of OpenAI tools. `share`: whether a prompt is computed once for its rollouts (`shared`).
    Raises AutoToolError for other columns, and where the loss is not a number.
    """

    # Set by TRL, which types them as if they could be missing.
    model: Any
    processing_class: Any
    max_completion_length: int
    num_generations: int
    num_generations_eval: int

    def __init__(
        self,
        model: Any,
        *,
        settings: ObjectiveSettings,
        profile: Profile,
        args: GRPOConfig,
        train_dataset: Dataset,
        share: bool = False,
        **rest: Any,
    ) -> None:
        check_setup(args, train_dataset.column_names)
        self._constraint = EntropyConstraint(settings)
        self._scored: list[Scored] = []
        self._tokens: Any = None
        self._sums: Tensor | None = None
        self._share = share
        if share:
            use(model)
        super().__init__(model, self.reward, args=args, train_dataset=train_dataset, **rest)
        self._reader = TrajectoryReader(self.processing_class, profile, self.eos_token_ids)
        self._scorer = Scorer(self._reader, settings, self.max_completion_length)

    def reward(
        self, prompts: list[list[int]], completion_ids: list[list[int]], gold: list[str], tools: list[str], **_: Any
    ) -> list[float | None]:
        """Score the rollouts of this rank; TRL calls it with the dataset's columns."""
        self._scored = [
            self._scorer.score(prompt, response, json.loads(its_tools), parse_gold(its_gold))
            for prompt, response, its_tools, its_gold in zip(prompts, completion_ids, tools, gold, strict=True)
        ]
        return [scored.reward for scored in self._scored]

    def _get_train_sampler(self, dataset: Dataset | None = None) -> PassSampler:
        made = super()._get_train_sampler(dataset)
        names = ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
        # The trainer's state says where a resumed run is; the epoch that accelerate tells samplers does not reach one whose
        # first batches are skipped on several processes.
        return PassSampler(**{name: getattr(made, name) for name in names}, passes=lambda: int(self.state.epoch or 0))

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        end = list(self._reader.prefix_ids)
        if any(prompt[-len(end) :] != end for prompt in prompts):
            raise AutoToolError("prompt of a training item must be token ids that end with the response prefix of mode=auto.")
        return prompts, None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        # Nothing can be merged into weights that are spread over processes.
        adapted = model if self.accelerator.distributed_type in WHOLE_WEIGHTS else None
        base = getattr(model, "get_base_model", lambda: model)()
        by_transformers = not (self.use_vllm or self.use_transformers_continuous_batching)
        deciding = deciding_first(base, self._reader.decision, share=self._share)
        with merged_adapter(adapted), keys_uncopied(base) if by_transformers else nullcontext(), deciding:
            return super()._generate_single_turn(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch, and with it `live` (B,): whether the trajectory's group has unequal rewards."""
        batch = super()._generate_and_score_completions(inputs)
        facts: Any = self.accelerator.gather(rollout_facts(self._scored, self.accelerator.device))
        live = live_groups(facts[:, 0], self.num_generations if self.model.training else self.num_generations_eval)
        self._note(rollout_metrics(facts, live))
        start = self.accelerator.process_index * len(inputs)
        return {**batch, "live": live[start : start + len(inputs)]}

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
            parts = [scores(model, ids[at : at + size], mask[at : at + size], responses) for at in range(0, len(ids), size)]
        return [torch.cat(of_all) for of_all in zip(*parts, strict=True)]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        policy_loss = super()._compute_loss(model, inputs)
        (logps, token_entropy), self._tokens = self._tokens, None
        mask = inputs["completion_mask"]
        entropy = sequence_entropy(token_entropy, mask)
        present = [mode & mask.any(1) for mode in mode_masks(inputs["completion_ids"], self._reader.decision)]
        modes = Modes(*(mode & inputs["live"] for mode in present))
        steps = self.current_gradient_accumulation_steps if self.model.training else 1
        term = self._constraint.term(entropy, modes) / steps
        sums = entropy_sums(entropy, present)
        if self.model.training:
            pulls = torch.stack([pull(policy_loss, logps), pull(term, token_entropy)])
            self._end_micro_batch(torch.cat([sums, pulls, self._constraint.gap_sums(entropy, modes)]))
        else:
            self._note(entropy_metrics(self._over_ranks(sums)))
        return policy_loss - term

    def _end_micro_batch(self, sums: Tensor) -> None:
        """Add up; after an optimiser step's last micro-batch, over all ranks too, then log and move β_l."""
        self._sums = sums if self._sums is None else self._sums + sums
        if not self.accelerator.sync_gradients:
            return
        *entropies, policy, term, gap_sum, count = self._over_ranks(self._sums)
        self._sums = None
        if not math.isfinite(policy + term):
            raise AutoToolError("The loss is not a number: lower learning_rate and resume from the last checkpoint.")
        controller = self._constraint.controller
        self._note({**entropy_metrics(entropies), **share_metrics(policy, term), "beta_long": controller.value})
        controller.step(gap_sum, count)

    def _over_ranks(self, sums: Tensor) -> list[float]:
        return cast("Tensor", self.accelerator.reduce(sums, reduction="sum")).tolist()

    def _note(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # First, because the last step of TRL's saving deletes older checkpoints.
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
