"""Recipes: a TOML file for a run, with a section for each stage; `--set sft.epochs=2` changes a value.

`extends = "other.toml"` starts from another recipe of the same folder, whose values the file overrides. The recipes of this
project come with the package and are found by their names.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autotool_core.errors import AutoToolError
from autotool_server import default_model
from autotool_training import scratch
from autotool_training.common import checkpoint
from autotool_training.common.checkpoint import Checkpoint
from autotool_training.common.fingerprint import SHIPPED_CHECKPOINTS
from autotool_training.common.loading import LoadSettings
from autotool_training.label.label import LabelRules
from autotool_training.refine.settings import RefineSettings
from autotool_training.rl.run_settings import RlSettings
from autotool_training.scratch import ScratchSettings
from autotool_training.sft.train import SftSettings

PACKAGE = Path(__file__).parent
CHECKOUT = PACKAGE.parents[1]
# Inside the package where it is installed from a wheel, beside it in a checkout.
SHIPPED = next((folder for folder in (PACKAGE / "recipes", PACKAGE.parent / "recipes") if folder.is_dir()), PACKAGE / "recipes")


class BaseSettings(LoadSettings):
    """The checkpoint that training starts from."""

    source: str = "smollm2-135m-base"
    """A folder, a hub id, a model that the server knows by name (`smollm2-135m`, its default model, `qwen2.5-coder-0.5b`,
    `qwen2.5-coder-1.5b`), the base of a trained one of them (`smollm2-135m-base`, `qwen2.5-coder-0.5b-base`), or `scratch` (a
    tiny random model)."""
    scratch: ScratchSettings = ScratchSettings()

    def load_base(self, seed: int, named: str | None = None) -> Checkpoint:
        """Return the base, or the checkpoint `named` in its place, ready for training. Raises AutoToolError if it cannot be."""
        if named is None and self.source == "scratch":
            made = scratch.make(self.scratch, seed=seed)
            made.model.to(getattr(torch, self.dtype))
            return made
        return checkpoint.load_checkpoint(named or resolve_source(self.source), loading=self)


class Recipe(BaseModel):
    """The settings of all stages of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0)
    base: BaseSettings = BaseSettings()
    label: LabelRules = LabelRules()
    sft: SftSettings = SftSettings()
    refine: RefineSettings = RefineSettings()
    rl: RlSettings = RlSettings()

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.base.load_in_4bit and not (self.sft.lora and self.rl.lora):
            raise ValueError("base.load_in_4bit needs sft.lora and rl.lora: weights of 4 bits cannot be trained themselves")
        if self.base.load_in_4bit and self.rl.rollouts != "transformers":
            raise ValueError("base.load_in_4bit needs rl.rollouts=transformers: vLLM's weights of 4 bits take no other values")
        if (self.base.attn_implementation or "sdpa") != "sdpa" and (self.sft.share or self.rl.share):
            raise ValueError("base.attn_implementation has no effect with share=true, which has an attention of its own")
        return self


def resolve_source(source: str) -> str:
    """Return the folder of a checkpoint that is known by name or that the repository ships; other sources as they are.

    Raises AutoToolError if a known one cannot be fetched, or if this is no checkout, whose checkpoints no package has.
    """
    folder = CHECKOUT / source
    if not source.startswith(SHIPPED_CHECKPOINTS) or Path(source).is_dir():
        return default_model.resolve(source)
    if not folder.is_dir():
        raise AutoToolError(
            f"base.source: {source} is a folder of the repository, which the package does not have: install from a checkout "
            "with `pip install -e`, or name another base by `--set base.source=FOLDER`."
        )
    return str(folder)


def load_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply changes, each of the form `section.key=value` with a TOML value.

    `path`: a file, or the name of a shipped recipe (`graded-tiny`). Raises AutoToolError that names the file and the first
    invalid value.
    """
    text = _read(_found(path))
    for change in changes:
        _change(text, change)
    try:
        return Recipe.model_validate(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise AutoToolError(f"{path}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}.") from None


def _found(path: Path) -> Path:
    """Return the file, or the shipped recipe of that name if there is no such file."""
    shipped = SHIPPED / f"{path.name.removesuffix('.toml')}.toml"
    return shipped if path.parent == Path() and not path.exists() and shipped.is_file() else path


def _read(path: Path, extending: tuple[str, ...] = ()) -> dict[str, Any]:
    text = _parsed(path)
    extended = text.pop("extends", None)
    if extended is None:
        return text
    chain = (*extending, path.name)
    if not isinstance(extended, str) or Path(extended).name != extended or extended in chain:
        raise AutoToolError(f'{path}: extends: write the name of another recipe in its folder, such as "graded-tiny.toml".')
    return _merged(_read(path.with_name(extended), chain), text)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AutoToolError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise AutoToolError(f"{path} is no UTF-8 text (byte {error.start + 1}): save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise AutoToolError(f"{path} is no TOML: {error}.") from error


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    shared = [key for key in base.keys() & changes.keys() if isinstance(base[key], dict) and isinstance(changes[key], dict)]
    return {**base, **changes, **{key: _merged(base[key], changes[key]) for key in shared}}


def _change(text: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    *sections, key = path.split(".")
    if not equals or not key:
        raise AutoToolError(f"--set {change}: write section.key=value, such as sft.epochs=2.")
    section = _section(text, sections, change)
    try:
        section[key] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        section[key] = value


def _section(text: dict[str, Any], names: Sequence[str], change: str) -> dict[str, Any]:
    """Return the section of a change, which is created if it is missing."""
    for depth, name in enumerate(names, 1):
        text = text.setdefault(name, {})
        if not isinstance(text, dict):
            path, value_type = ".".join(names[:depth]), type(text).__name__
            raise AutoToolError(f"--set {change}: {path} is a value ({value_type}), not a section: write {path}=value.")
    return text
