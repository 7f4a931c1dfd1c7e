"""Settings of an RL run: the section `rl` of a recipe."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autotool_training.common.lora import LoraSettings
from autotool_training.common.trackers import Tracker
from autotool_training.rl.settings import UNTARGETED, ObjectiveSettings

_TARGET_ANSWERS: Mapping[str, Literal["chosen", "forced"]] = {"sampled": "chosen", "halved": "forced"}
_FUNCTION = re.compile(r"\w+(\.\w+)*:\w+")


class VllmSettings(BaseModel):
    """vLLM in this process, for `rollouts = "vllm"`; a server gets such values by its own command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu_memory_utilization: float = Field(default=0.3, gt=0, le=1)
    """Share of a GPU's memory for vLLM's weights and keys; the rest is for training."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs over which a copy of the model is spread; it divides the number of processes."""
    enable_sleep_mode: bool = False
    """Free vLLM's memory while the model learns. Its weights are sent again before each decoding."""


class EvaluationSettings(BaseModel):
    """Evaluation on held-out records in all three modes, which keeps the best checkpoint in the folder `best` of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    records: str
    """A file of records that are not trained on. The best checkpoint is chosen by them: never name those of a test."""
    steps: int = Field(default=50, ge=1)
    """Steps between two evaluations; there is one at the end too. The best checkpoint is that with the most right answers in
    `auto`; of equal ones that with fewer tokens, then the earlier one."""
    count: int = Field(default=200, ge=1)
    """Maximum records: the first of the file."""
    batch: int = Field(default=64, ge=1)
    """Answers that transformers decodes at once, per device."""


class RlSettings(BaseModel):
    """Settings of an RL run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: ObjectiveSettings = ObjectiveSettings()
    """The objective; missing entropy targets are measured before the first step."""
    reward: str | list[str] | None = None
    """Functions of your own that give the rewards in place of the reward table, each as `module:function`; those of several
    are added up (see `rl.own_reward`). A rollout without a decision, or long with an empty think block, keeps the lowest
    reward of `rl.objective.rewards`."""
    decisions: Literal["sampled", "halved"] = "sampled"
    """`sampled`: each rollout draws its decision token. `halved`: half of each group is made to be long and half to be short,
    so that both modes are compared however rarely one is chosen (AdaptThink, arXiv 2505.13417, there with importance weights,
    which would make a rare decision's gradient small again). transformers has to decode."""
    target_answers: Literal["chosen", "forced"] = Field(default_factory=lambda known: _TARGET_ANSWERS[known["decisions"]])
    """The base's answers that give the targets H_s and H_l: `chosen`, those that it chooses to give in the mode (each answer
    weighs as the probability of its mode); or `forced`, all alike, the only way before. Default: what β_l is adapted by too,
    which is `chosen`, and with `decisions = "halved"` `forced`."""
    percentile: Annotated[float, Field(gt=0, lt=100)] | Literal["mean"] = "mean"
    """Percentile of their entropies that is the target, or `mean`, which β_l is adapted by too. It was 50."""
    probes: int = Field(default=64, ge=2)
    """Records whose answers the targets are measured on, in each mode."""
    steps: int = Field(default=200, ge=1)
    """Optimiser steps."""
    prompts: int = Field(default=8, ge=1)
    """Groups of an optimiser step, per device."""
    group: int = Field(default=8, ge=2)
    """Rollouts of a prompt."""
    max_num_gen_batches: int = Field(default=1, ge=1)
    """Batches that are generated for a step at most, in verl's word. From 2 on groups of equal rewards are replaced by those of
    further records until none is left or so many batches were made (dynamic sampling of DAPO, arXiv 2503.14476). The metrics
    of rollouts, and the H that adapts β_l, are those of the first batch, replaced groups included."""
    num_iterations: int = Field(default=1, ge=1)
    """Optimiser steps on each batch of rollouts (μ of GRPO; TRL's name). From 2 on the ratios of the policy loss are other than
    1. `save_steps` and `steps` have to be multiples of it: a checkpoint holds no rollouts. β_l is adapted at every step, by H
    of the same rollouts, and `logp_gap` has the policy's own change in it."""
    accumulation: int = Field(default=1, ge=1)
    """Micro-batches into which a device's rollouts of a step are split, to save memory."""
    share: bool = False
    """Compute a prompt once for its rollouts (`common.prefix_sharing`): for all of them when transformers decodes, and for
    those of a micro-batch in training, each of which has the rollouts of as few prompts as possible."""
    max_prompt_tokens: int = Field(default=2048, ge=1)
    """Records with a longer prompt are left out, here and in **refine**, and told: one of them could end a run."""
    max_response_tokens: int = Field(default=256, ge=8)
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=10, ge=0)
    lora: LoraSettings | None = None
    """None: all weights are trained."""
    rollouts: Literal["transformers", "vllm", "vllm-server"] = "transformers"
    """The decoder: transformers, vLLM in this process, or a vLLM server (`vllm serve` with `--weight-transfer-config`, as in
    docs/guides/train.md)."""
    vllm_url: str | None = None
    """URL of the vLLM server."""
    vllm: VllmSettings = VllmSettings()
    evaluation: EvaluationSettings | None = None
    """None: there is no evaluation, and only the last checkpoints are kept."""
    gradient_checkpointing: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    report_to: list[Tracker] = []
    """Services that get the metrics, besides TensorBoard's files: `wandb`, `trackio`. Each needs its package."""
    log_completions: int = Field(default=0, ge=0)
    """Steps between two tables of the rollouts of a step, with prompt, answer, mode, reward and advantage: as Parquet files in
    `steps/completions/` of the run, and in the services of `report_to`. 0: none."""
    save_steps: int = Field(default=50, ge=1)
    keep: int = Field(default=1, ge=1)
    """Number of latest checkpoints in `steps/` that are kept, each complete with template and profile."""

    @property
    def reward_names(self) -> list[str]:
        """Return the names of the reward functions; none for the reward table."""
        return [self.reward] if isinstance(self.reward, str) else list(self.reward or ())

    @model_validator(mode="after")
    def _rewards(self) -> Self:
        if self.reward is None:
            return self
        if not self.reward_names or not all(_FUNCTION.fullmatch(name) for name in self.reward_names):
            raise ValueError('reward: write "module:function", or a list of such names')
        if self.objective.variant == "length-penalty" or self.objective.length_bonus:
            raise ValueError(
                "reward takes the place of the rewards of variant=length-penalty and of length_bonus: leave one out"
            )
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.prompts * self.group % self.accumulation:
            raise ValueError("accumulation does not divide prompts x group: the micro-batches of a step have equal sizes")
        if self.save_steps % self.num_iterations or self.steps % self.num_iterations:
            raise ValueError("num_iterations does not divide save_steps and steps: a checkpoint holds no rollouts")
        if self.objective.importance_sampling_level == "sequence" and self.num_iterations == 1:
            raise ValueError("importance_sampling_level=sequence has no effect with num_iterations=1: set at least 2")
        if self.rollouts == "vllm-server" and not self.vllm_url:
            raise ValueError("vllm_url is missing: rollouts=vllm-server needs the server's URL")
        if self.decisions == "halved" and (self.rollouts != "transformers" or self.group % 2):
            raise ValueError("decisions=halved needs rollouts=transformers and an even group")
        return self

    @model_validator(mode="after")
    def _targets_are_of_the_same_answers(self) -> Self:
        objective = self.objective
        measured = objective.targets is None and objective.variant not in UNTARGETED
        if measured and self.decisions == "halved" and self.target_answers == "chosen":
            raise ValueError(
                "decisions=halved adapts β_l by forced answers, and target_answers=chosen measures H_l on others: leave "
                "target_answers out"
            )
        return self
