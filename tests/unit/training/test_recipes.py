"""Tests that every recipe loads, states its command, and has the variant of its name."""

from pathlib import Path
from typing import Any

import pytest

from autotool_core.errors import AutoToolError
from autotool_training.dry_run import _small, dry_run
from autotool_training.recipe import load_recipe

FOLDER = Path(__file__).parents[3] / "training" / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"), key=lambda path: path.name)
VARIANTS = {
    "graded-tiny": "autotool",
    "graded-tiny-grpo": "grpo",
    "graded-tiny-grpo-cold": "grpo",
    "graded-tiny-static-beta": "static-beta",
    "graded-tiny-length-penalty": "length-penalty",
    "graded-tiny-no-decoupling": "no-decoupling",
    "graded-tiny-no-adaptive": "no-adaptive",
    "smollm2-135m": "autotool",
    "smollm2-135m-grpo": "grpo",
    "graded-free-halved": "grpo",
    "graded-free-think-reward": "grpo",
    "graded-free": "autotool",
    "graded-free-grpo": "grpo",
    "graded-free-grpo-2e-4": "grpo",
    "graded-free-length-bonus": "grpo",
    "graded-free-no-decoupling": "no-decoupling",
    "graded-free-static-beta-0.005": "static-beta",
    "graded-free-static-beta-0.05": "static-beta",
    "graded-free-static-beta-0.5": "static-beta",
}
MODES = {
    f"{model}{variant}": modes
    for model in ("graded-tiny", "smollm2-135m")
    for variant, modes in (("", "labelled"), ("-always-long", "long"), ("-always-short", "short"))
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_states_its_command(path: Path) -> None:
    load_recipe(path)
    head = path.read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "Measured time:" in head
    assert ("pytest" if path.stem.endswith("-ci") else f"recipes/{path.name}") in head


def test_every_recipe_of_a_run_has_its_variant() -> None:
    assert {name: load_recipe(FOLDER / f"{name}.toml").rl.objective.variant for name in VARIANTS} == VARIANTS
    assert {name: load_recipe(FOLDER / f"{name}.toml").sft.modes for name in MODES} == MODES


def test_runs_of_several_gpus_are_refined_without_rounds_of_grpo_and_with_a_threshold() -> None:
    rounds = {"qwen2.5-7b-lora": 0, "qwen2.5-7b": 0}
    recipes = {name: load_recipe(FOLDER / f"{name}.toml").refine for name in rounds}
    assert {name: settings.rounds for name, settings in recipes.items()} == rounds
    assert {settings.min_alignment for settings in recipes.values()} == {"median"}


@pytest.mark.parametrize("name", ["graded-tiny", "graded-free", "smollm2-135m"])
def test_a_variant_changes_only_its_own_values(name: str) -> None:
    whole, variant = (load_recipe(FOLDER / f"{one}.toml") for one in (name, f"{name}-grpo"))
    assert variant.rl.model_copy(update={"objective": whole.rl.objective}) == whole.rl
    assert (variant.base, variant.sft, variant.refine) == (whole.base, whole.sft, whole.refine)


@pytest.mark.parametrize("name", ["graded-tiny", "smollm2-135m", "qwen2.5-7b", "qwen2.5-7b-lora"])
def test_a_dry_run_makes_a_step_of_each_stage(name: str) -> None:
    dry_run(load_recipe(FOLDER / f"{name}.toml"))


def test_a_dry_run_asks_no_server_and_sends_nothing(tmp_path: Path) -> None:
    lora = ["sft.lora={}", "rl.lora={}"]
    sent = ["sft.report_to=['wandb']", "rl.report_to=['trackio']", "refine.urls=['http://localhost:9']", "refine.rounds=0"]
    recipe = load_recipe(FOLDER / "graded-tiny.toml", [*sent, "base.dtype=bfloat16", *lora])
    small = _small(recipe, tmp_path)
    assert (small.sft.report_to, small.rl.report_to, small.refine.urls) == ([], [], [])
    assert small.base.dtype == "bfloat16"
    # All weights are trained in it on several devices only.
    whole = recipe.model_copy(update={"rl": recipe.rl.model_copy(update={"lora": None})})
    assert _small(whole, tmp_path).base.dtype == "float32"


def test_incompatible_settings_are_rejected() -> None:
    with pytest.raises(AutoToolError, match=r"rl: .*accumulation does not divide"):
        load_recipe(FOLDER / "graded-tiny.toml", ["rl.prompts=1", "rl.group=2", "rl.accumulation=3"])
    with pytest.raises(AutoToolError, match=r"rl: .*decisions=halved needs rollouts=transformers and an even group"):
        load_recipe(FOLDER / "graded-tiny.toml", ["rl.decisions=halved", "rl.group=5", "rl.accumulation=5"])
    tiny = FOLDER / "graded-tiny.toml"
    for changes, message in (
        (["base.load_in_4bit=true"], "load_in_4bit needs sft.lora and rl.lora"),
        (["base.attn_implementation=flash_attention_2"], "set dtype"),
        (["base.attn_implementation=eager", "rl.share=true"], "no effect with share=true"),
        (["rl.num_iterations=3"], "num_iterations does not divide save_steps"),
        (["rl.num_iterations=2", "rl.save_steps=2", "rl.steps=5"], "num_iterations does not divide save_steps and steps"),
        (["rl.objective.importance_sampling_level=sequence"], "no effect with num_iterations=1"),
        (
            ["rl.decisions=halved", "rl.target_answers=chosen"],
            "decisions=halved adapts β_l by forced answers, .*: leave target_answers out",
        ),
    ):
        with pytest.raises(AutoToolError, match=message):
            load_recipe(tiny, changes)
    with pytest.raises(AutoToolError, match=r"load_in_4bit needs rl\.rollouts=transformers"):
        load_recipe(FOLDER / "qwen2.5-7b-lora.toml", ["base.load_in_4bit=true"])
    with pytest.raises(AutoToolError, match=r"rl: .*vllm_url is missing"):
        load_recipe(FOLDER / "graded-tiny.toml", ["rl.rollouts=vllm-server"])


def test_targets_that_are_not_measured_do_not_refuse_halved_decisions() -> None:
    halved = ["rl.decisions=halved", "rl.target_answers=chosen"]
    for more in ("rl.objective.variant=static-beta", "rl.objective.targets={short=0.1, long=0.2, shared=0.1}"):
        assert load_recipe(FOLDER / "graded-tiny.toml", [*halved, more]).rl.target_answers == "chosen"


def test_the_zero3_file_is_a_config_of_accelerate() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    read: Any = load_config_from_file(str(FOLDER / "zero3.yaml"))
    assert (read.distributed_type, read.deepspeed_config["zero_stage"]) == ("DEEPSPEED", 3)


def test_the_fsdp2_file_is_a_config_of_accelerate() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    read: Any = load_config_from_file(str(FOLDER / "fsdp2.yaml"))
    assert (read.distributed_type, read.fsdp_config["fsdp_version"]) == ("FSDP", 2)
    assert read.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"


@pytest.mark.parametrize("extended", ["a.toml", "../b.toml", 3])
def test_a_recipe_extends_only_recipes_in_its_folder(tmp_path: Path, extended: object) -> None:
    (tmp_path / "a.toml").write_text(f"extends = {extended!r}".replace("'", '"'))
    with pytest.raises(AutoToolError, match=r"extends: write the name of another recipe"):
        load_recipe(tmp_path / "a.toml")


def test_recipes_that_extend_each_other_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "a.toml"')
    with pytest.raises(AutoToolError, match=r"b\.toml: extends"):
        load_recipe(tmp_path / "a.toml")
