"""A trainer of RL on a tiny random Llama."""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN
from autotool_core.prompt import PromptRenderer
from autotool_training.rl.grpo import AutoToolGRPOTrainer
from autotool_training.rl.objective import trl_arguments
from autotool_training.rl.settings import EntropyTargets, ObjectiveSettings, Variant
from support.tiny import make_llama, make_tokenizer

PROFILE = BUILTIN["smollm2-autotool"]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
# No call is wanted: that much a random model gets right at times.
GOLD = "[]"
# A random model's entropy is about log(263) = 5.6.
TARGETS = EntropyTargets(short=9.0, long=9.0, shared=9.0)
STEPS = 3
GROUP = 4


def make_data(tokenizer: Any, items: int = 6) -> Dataset:
    renderer = PromptRenderer(tokenizer, PROFILE)
    prompts = [renderer.render([{"role": "user", "content": f"{at}?"}], TOOLS, Mode.AUTO) for at in range(items)]
    return Dataset.from_dict({"prompt": prompts, "gold": [GOLD] * items, "tools": [json.dumps(TOOLS)] * items})


def make_trainer(folder: Path, variant: Variant = "autotool", **changes: Any) -> AutoToolGRPOTrainer:
    tokenizer = make_tokenizer()
    settings = changes.pop("settings", None) or ObjectiveSettings(variant=variant, targets=TARGETS)
    arguments: dict[str, Any] = {
        **trl_arguments(settings),
        "output_dir": str(folder),
        "max_steps": STEPS,
        "per_device_train_batch_size": GROUP,
        "gradient_accumulation_steps": 2,
        "num_generations": GROUP,
        "max_completion_length": 6,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "seed": 3,
    }
    model = changes.pop("model", None) or make_llama(tokenizer)
    data = changes.pop("train_dataset", None) or make_data(tokenizer)
    own = ("callbacks", "eval_dataset", "peft_config", "share", "halved", "max_num_gen_batches")
    kept = {name: changes.pop(name) for name in own if name in changes}
    return AutoToolGRPOTrainer(
        model,
        settings=settings,
        profile=PROFILE,
        args=GRPOConfig(**{**arguments, **changes}),
        train_dataset=data,
        processing_class=tokenizer,
        **kept,
    )


def ending_soon() -> dict[str, Any]:
    """Rollouts that end, and at times close the block: a random model would hardly ever do so by itself."""
    likely = make_tokenizer().convert_tokens_to_ids(["<|im_end|>", "</think>"])
    return {"max_completion_length": 8, "generation_kwargs": {"sequence_bias": [[[token], 4.0] for token in likely]}}
