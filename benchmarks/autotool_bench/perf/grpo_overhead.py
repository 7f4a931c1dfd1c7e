"""The cost of this project's GRPO trainer: its training step against that of TRL's GRPOTrainer, on one model and machine.

The command is `autotool bench perf grpo-overhead`. Both trainers get the same arguments, prompts and reward function, and
decode the same number of tokens per rollout. Each round times the second step of a run of two steps of each trainer, in turn.
The figure is the median over the rounds of ours / stock; the median of stock / stock is the noise. Without a GPU the times are
CPU times of the process, because wall time means little on a shared machine.
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import torch
import typer
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN
from autotool_core.prompt import PromptRenderer
from autotool_training.rl.grpo import AutoToolGRPOTrainer
from autotool_training.rl.objective import trl_arguments
from autotool_training.rl.settings import EntropyTargets, ObjectiveSettings

PROFILE = BUILTIN["qwen3"]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
QUESTION = "What is 1 + 1? Use the tool, and answer nothing else."
# Targets so high that every trajectory is constrained: the entropy term always has a gradient.
TARGETS = EntropyTargets(short=99, long=99, shared=99)
SETTINGS = ObjectiveSettings(targets=TARGETS)


@dataclass(frozen=True, slots=True)
class GrpoOptions:
    """What is measured, and how often."""

    model: str
    """Folder of a checkpoint that can do `auto`."""
    rounds: int
    group: int
    """Rollouts per prompt."""
    tokens: int
    """Tokens per rollout."""
    items: int
    """Prompts per step."""


class _StepTimer(TrainerCallback):
    """Keeps the seconds of the last step."""

    seconds = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._start = _now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds = _now() - self._start


def _now() -> float:
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


class _StockTrainer(GRPOTrainer):
    """TRL's trainer, except that it takes prompts as token ids, as ours does."""

    def _tokenize_prompts(self, prompts: list[list[int]]) -> Any:
        return prompts, None, {}


def _arguments(options: GrpoOptions, folder: str, eos: int) -> GRPOConfig:
    on_gpu = torch.cuda.is_available()
    return GRPOConfig(
        **trl_arguments(SETTINGS),
        output_dir=folder,
        max_steps=2,
        per_device_train_batch_size=options.group * options.items,
        num_generations=options.group,
        max_completion_length=options.tokens,
        generation_kwargs={"min_new_tokens": options.tokens - 1, "forced_eos_token_id": eos},
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not on_gpu,
        bf16=on_gpu,
    )


def _trainers(options: GrpoOptions, folder: str) -> tuple[GRPOTrainer, GRPOTrainer]:
    tokenizer: Any = AutoTokenizer.from_pretrained(options.model)
    arguments = _arguments(options, folder, tokenizer.eos_token_id)
    prompt = PromptRenderer(tokenizer, PROFILE).render([{"role": "user", "content": QUESTION}], [TOOL], Mode.AUTO)
    rows = options.items * 4
    data = Dataset.from_dict({"prompt": [prompt] * rows, "gold": ["[]"] * rows, "tools": [json.dumps([TOOL])] * rows})

    def model() -> Any:
        return AutoModelForCausalLM.from_pretrained(options.model)

    ours = AutoToolGRPOTrainer(
        model(),
        settings=SETTINGS,
        profile=PROFILE,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
    )
    return ours, _StockTrainer(model(), ours.reward, args=arguments, train_dataset=data, processing_class=tokenizer)


def _ratios(options: GrpoOptions, folder: str) -> tuple[list[float], list[float]]:
    """Return the ratios ours / stock and stock / stock of every round."""
    ours, stock = _trainers(options, folder)
    timers = {trainer: _StepTimer() for trainer in (ours, stock)}
    for trainer, timer in timers.items():
        trainer.add_callback(timer)

    def step(trainer: GRPOTrainer) -> float:
        trainer.train()
        return timers[trainer].seconds

    for trainer in timers:
        step(trainer)
    rounds = [(step(stock), step(ours), step(stock)) for _ in range(options.rounds)]
    ours_ratios = [2 * middle / (before + after) for before, middle, after in rounds]
    return ours_ratios, [after / before for before, _, after in rounds]


def measure(options: GrpoOptions) -> None:
    """Time the steps and print both medians."""
    with tempfile.TemporaryDirectory() as folder:
        ours_ratios, noise = _ratios(options, folder)
    for name, ratios in (("ours / stock", ours_ratios), ("stock / stock", noise)):
        low, median, high = min(ratios), statistics.median(ratios), max(ratios)
        typer.echo(f"{name}: {median:.3f} (from {low:.3f} to {high:.3f})")
