from pathlib import Path

import pytest

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_training import recipe as recipes
from autotool_training.recipe import SHIPPED, Recipe, load_recipe, resolve_source

TEXT = """
seed = 3
[base]
source = "scratch"
[sft]
epochs = 2.0
[rl.objective]
variant = "grpo"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text(TEXT)
    return path


def test_a_recipe_is_read_and_changed(recipe: Path) -> None:
    read = load_recipe(recipe, ["sft.epochs=5", "rl.objective.variant=static-beta", "base.scratch.layers=3", "seed=9"])
    assert (read.seed, read.sft.epochs, read.rl.objective.variant, read.base.scratch.layers) == (9, 5.0, "static-beta", 3)


def test_a_recipe_that_says_nothing_of_the_objective_trains_by_the_whole_method(recipe: Path) -> None:
    recipe.write_text('[base]\nsource = "scratch"\n')
    assert load_recipe(recipe).rl.objective == load_recipe(recipe, ["rl.objective.variant=autotool"]).rl.objective


def test_a_threshold_of_a_shipped_recipe_can_be_set_back_to_the_stated_rule() -> None:
    for name in ("graded-tiny", "graded-tiny-ci", "qwen2.5-7b-ci", "smollm2-135m"):
        read = load_recipe(Path(name), ["refine.min_alignment=median", "rl.percentile=mean"])
        assert (read.refine.min_alignment, read.rl.percentile) == ("median", "mean")
    read = load_recipe(Path("graded-tiny"), ["refine.min_alignment=0.5", "rl.percentile=50"])
    assert (read.refine.min_alignment, read.rl.percentile) == (0.5, 50)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sft.epoch=5", r"a\.toml: sft\.epoch: Extra inputs"),
        ("sft.epochs=many", r"sft\.epochs: Input should be a valid number"),
        ("sft.epochs", "write section.key=value"),
        ("base.source.x=1", r"base\.source is a value \(str\), not a section: write base\.source=value"),
        ("rl.percentile=100", r"rl\.percentile.*less than 100"),
        ("refine.min_alignment=2", r"refine\.min_alignment.*less than or equal to 1"),
        ("seed.x.y=1", r"seed is a value \(int\)"),
        ("rl.objective.variant=magic", "'autotool', 'grpo'"),
    ],
)
def test_a_change_that_is_wrong_is_named(recipe: Path, change: str, message: str) -> None:
    with pytest.raises(AutoToolError, match=message):
        load_recipe(recipe, [change])


def test_a_file_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutoToolError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(AutoToolError, match="is no TOML"):
        load_recipe(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes("# für\n".encode("latin-1"))
    with pytest.raises(AutoToolError, match=r"latin\.toml is no UTF-8 text \(byte 4\): save it as UTF-8"):
        load_recipe(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", ["graded-tiny-ci", "graded-tiny-ci.toml", "qwen2.5-7b-ci"])
def test_a_shipped_recipe_is_found_by_its_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path(name)) == load_recipe(SHIPPED / f"{name.removesuffix('.toml')}.toml")


def test_a_file_wins_over_a_shipped_recipe_and_a_path_is_only_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graded-tiny-ci.toml").write_text("seed = 77")
    assert load_recipe(Path("graded-tiny-ci.toml")).seed == 77
    with pytest.raises(AutoToolError, match=r"runs/graded-tiny-ci\.toml cannot be read"):
        load_recipe(Path("runs/graded-tiny-ci.toml"))


def test_a_recipe_without_a_base_starts_from_that_of_the_default_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTOOL_CACHE_DIR", str(tmp_path))
    folder = default_model.location(trained=False)
    folder.mkdir()
    assert resolve_source(Recipe().base.source) == str(folder)


def test_a_base_of_the_repository_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = load_recipe(Path("graded-tiny")).base.source
    assert (Path(resolve_source(source)) / "model.safetensors").is_file()
    monkeypatch.setattr(recipes, "CHECKOUT", tmp_path)
    with pytest.raises(AutoToolError, match=rf"^base\.source: {source} is a folder of the repository"):
        resolve_source(source)
    for other in ("someone/model", "training/mine"):
        assert resolve_source(other) == other
    Path(source).mkdir(parents=True)
    assert resolve_source(source) == source
