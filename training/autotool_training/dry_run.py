"""`autotool train check`: try a recipe without its base, its data and its hardware."""

import tempfile
from pathlib import Path

from autotool_core.graded import LEVELS
from autotool_training import scratch
from autotool_training.common import records as files
from autotool_training.common.examples import ExampleWriter
from autotool_training.common.loading import LoadSettings
from autotool_training.common.lora import lora_config
from autotool_training.common.records import Record
from autotool_training.data.sources import graded
from autotool_training.data.sources.rows import RowError
from autotool_training.recipe import Recipe
from autotool_training.refine.probe import ProbeJob, refine_records
from autotool_training.rl import run as rl
from autotool_training.rl.run_settings import EvaluationSettings
from autotool_training.sft import train as sft

TINY = {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64}


def dry_run(recipe: Recipe) -> None:
    """Build all settings as they are, then make one step of SFT, one probe round and one step of RL on a tiny model.

    Raises the errors of the stages.
    """
    with tempfile.TemporaryDirectory() as folder:
        _build(recipe, Path(folder))
        _step(_small(recipe, Path(folder)), Path(folder))


def _build(recipe: Recipe, folder: Path) -> None:
    sft.sft_config(recipe.sft, folder, recipe.seed)
    rl.grpo_config(recipe.rl, folder, recipe.seed)
    base = scratch.make(recipe.base.scratch.model_copy(update=TINY), seed=0)
    for settings in (recipe.sft.lora, recipe.rl.lora):
        if settings:
            lora_config(base, settings)


def _small(recipe: Recipe, folder: Path) -> Recipe:
    sizes = recipe.base.scratch.model_copy(update=TINY)
    sft_sizes = {"epochs": 1, "batch_size": len(LEVELS), "accumulation": 1, "max_tokens": sizes.max_position, "save_steps": 1}
    sft_sizes |= {"report_to": []}
    refine_sizes = {"group": 2, "batch": 4, "rounds": min(recipe.refine.rounds, 1), "round_steps": 1, "urls": []}
    rl_sizes = {"steps": 1, "prompts": 2, "group": 2, "accumulation": 1, "probes": 2, "max_response_tokens": 16}
    held_out = EvaluationSettings(records=str(folder / "held_out.jsonl"), steps=1, count=2, batch=2)
    rl_sizes |= {"report_to": []}
    decoded = {"rollouts": "transformers", "vllm_url": None, "evaluation": recipe.rl.evaluation and held_out}
    # All weights are trained in bfloat16 on several devices only.
    dtype = recipe.base.dtype if recipe.sft.lora and recipe.rl.lora else "float32"
    return recipe.model_copy(
        update={
            "base": recipe.base.model_copy(update={"source": "scratch", "scratch": sizes, "dtype": dtype}),
            "sft": recipe.sft.model_copy(update=sft_sizes),
            "refine": recipe.refine.model_copy(update=refine_sizes),
            "rl": recipe.rl.model_copy(update={**rl_sizes, **decoded}),
        }
    )


def _step(recipe: Recipe, folder: Path) -> None:
    base, records = recipe.base.load_base(recipe.seed), _records("1")
    files.write(folder / "held_out.jsonl", _records("2")[1::2])
    writer = ExampleWriter(base.tokenizer, base.profile, base.tokenizer.eos_token_id)
    examples, _ = sft.make_examples(records, writer, recipe.sft)
    sft.train(base, examples, recipe.sft, folder / "sft", seed=recipe.seed)
    probing = ProbeJob(
        records=records,
        rounds=[folder / "sft"],
        base=lambda: recipe.base.load_base(recipe.seed),
        # FlashAttention needs a GPU, and 4 bits a package.
        loading=LoadSettings(dtype=recipe.base.dtype),
        settings=recipe.refine,
        rl=recipe.rl,
        seed=recipe.seed,
        out=folder / "refined.jsonl",
    )
    refine_records(probing)
    rl.train(recipe.base.load_base(recipe.seed), records, recipe.rl, folder / "rl", seed=recipe.seed)


def _records(count: str) -> list[Record]:
    """Return so many records of each level, labelled short and long in turn; those of a level follow each other."""
    made = [record for record in graded.load_records(count) if not isinstance(record, RowError)]
    return [record.model_copy(update={"label": ("short", "long")[index % 2]}) for index, record in enumerate(made)]
