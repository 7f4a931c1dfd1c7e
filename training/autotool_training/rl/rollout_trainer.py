"""The part of the trainer that makes rollouts: prompts as token ids, the decision, rewards, tables of rollouts, and vLLM.

It overrides these private methods of TRL 1.16's GRPOTrainer: `_tokenize_prompts`, `_prepare_inputs`, `_generate_single_turn`
and `_get_train_sampler`.
"""

import json
from contextlib import nullcontext
from functools import partial
from typing import Any

from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from autotool_core.errors import AutoToolError
from autotool_core.profile import Profile
from autotool_core.prompt import DecisionTokens
from autotool_training.common.export import WHOLE_WEIGHTS
from autotool_training.common.lora import merged_weights, with_merged_adapter
from autotool_training.common.prefix_sharing import enable, without_kv_copies
from autotool_training.common.records import Record
from autotool_training.rl.epoch_sampler import EpochSampler
from autotool_training.rl.metrics import completion_columns
from autotool_training.rl.micro_batches import by_prompt
from autotool_training.rl.own_reward import OwnReward
from autotool_training.rl.reward import RolloutScorer, Scored, parse_gold
from autotool_training.rl.rollout import LogpRecorder, force_decision_token
from autotool_training.rl.settings import ObjectiveSettings
from autotool_training.rl.trajectory import TrajectoryReader


class RolloutTrainer(GRPOTrainer):
    """GRPOTrainer whose rollouts decide, and get the rewards of this package.

    Columns of the datasets: `prompt`, token ids ending with the `auto` prefix; `gold`, a JSON list of calls; `tools`,
    a JSON list of OpenAI tools; with an `own_reward` also `record`, a record as JSON. With `share` a prompt is computed once
    for those of its rollouts that are in one micro-batch, which are put together (`micro_batches`), and with `halved` half of a
    group's rollouts are long and half are short. `log_completions`: steps between two tables of rollouts, 0 for none.
    """

    # TRL sets them, but types them as optional.
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
        halved: bool = False,
        own_reward: OwnReward | None = None,
        log_completions: int = 0,
        **rest: Any,
    ) -> None:
        self._scored: list[Scored] = []
        self._recorder = LogpRecorder()
        self._share = share
        self._halved = halved
        self._own_reward = own_reward
        self._log_every = log_completions
        if share:
            enable(model)
        super().__init__(model, self.reward, args=args, train_dataset=train_dataset, **rest)
        if self.use_vllm and hasattr(self.model, "merge_adapter"):
            # TRL's does not know the trained rows of the embeddings.
            self.vllm_generation._iter_named_params = partial(merged_weights, self.model)
        self._reader = TrajectoryReader(self.processing_class, profile, self.eos_token_ids)
        self.scorer = RolloutScorer(self._reader, settings, self.max_completion_length)

    def reward(
        self, prompts: list[list[int]], completion_ids: list[list[int]], gold: list[str], tools: list[str], **columns: Any
    ) -> list[float | None]:
        """Return the rewards of this rank's rollouts; TRL calls it with the dataset's columns."""
        self._scored = [
            self.scorer.score(prompt, response, json.loads(its_tools), parse_gold(its_gold))
            for prompt, response, its_tools, its_gold in zip(prompts, completion_ids, tools, gold, strict=True)
        ]
        if self._own_reward:
            records = [Record.model_validate_json(text) for text in columns["record"]]
            self._scored = self._own_reward.apply(records, self._scored)
        if log := columns.get("log_extra"):
            for name, values in completion_columns(self._scored).items():
                log(name, values)
        return [scored.reward for scored in self._scored]

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        made = super()._get_train_sampler(dataset)
        names = ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
        # The epoch is read from the trainer's state: the one that accelerate sets does not reach a sampler whose first
        # batches are skipped on several processes.
        return EpochSampler(**{name: getattr(made, name) for name in names}, epochs=lambda: int(self.state.epoch or 0))

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        end = list(self._reader.prefix_ids)
        if any(prompt[-len(end) :] != end for prompt in prompts):
            raise AutoToolError("prompt of a training item must be token ids that end with the response prefix of mode=auto.")
        return prompts, None, {}

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before: Any = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        # The loss `bnpo` weighs a rollout by what else is in its part, which is therefore left to chance.
        if not self._share or self.loss_type == "bnpo" or not self.model.training or self._buffered_inputs is before:
            return inputs
        parts: Any = self._buffered_inputs
        self._buffered_inputs = by_prompt(parts)
        return self._buffered_inputs[self._step % len(parts)]

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        base = getattr(model, "get_base_model", lambda: model)()
        by_transformers = not (self.use_vllm or self.use_transformers_continuous_batching)
        # An adapter cannot be merged into weights that are sharded over processes. vLLM gets merged weights.
        adapted = model if self.accelerator.distributed_type in WHOLE_WEIGHTS and not self.use_vllm else None
        group = self._group_size() if self._halved else None
        decoder = {"share": self._share, "recorder": self._recorder, "halved_group": group}
        deciding = force_decision_token(base, self._reader.decision, **decoder)
        with with_merged_adapter(adapted), without_kv_copies(base) if by_transformers else nullcontext(), deciding:
            return super()._generate_single_turn(*args, **kwargs)

    def _group_size(self) -> int:
        return self.num_generations if self.model.training else self.num_generations_eval

    @property
    def decision(self) -> DecisionTokens:
        """Return the token ids by which the model chooses its mode."""
        return self._reader.decision

    def decode_by_vllm(self, prompts: list[list[int]]) -> list[list[int]]:
        """Return vLLM's greedy answers by the weights of this step. All ranks call it, each with as many prompts."""
        generation = self.vllm_generation
        if self._last_loaded_step != self.state.global_step:
            generation.sync_weights()
            self._last_loaded_step = self.state.global_step
        before, generation.temperature = generation.temperature, 0.0
        try:
            return [list(ids) for ids in generation.generate(prompts, images=None, num_generations=1)[1]]
        finally:
            generation.temperature = before

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the metrics of a step, and a table of its rollouts if it is time."""
        # The summary at the end is logged without a loss, after the step's own metrics.
        is_step = "loss" in logs and bool(self._log_every)
        self.log_completions = is_step and self.state.global_step % self._log_every == 0
        prompts: Any = self._logs["prompt"]
        if self.log_completions:
            # TRL's table has prompts as they were given.
            for at in range(len(prompts)):
                prompts[at] = prompts[at] if isinstance(prompts[at], str) else self.processing_class.decode(prompts[at])
        super().log(logs, start_time)

    def note(self, metrics: dict[str, float]) -> None:
        """Add values to the metrics of the step, or of the evaluation."""
        for name, value in metrics.items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)
